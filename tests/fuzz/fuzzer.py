"""The parser under libFuzzer, with its modules instrumented. Arguments are libFuzzer's."""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["ourvidz_worker.contract"]):
    from tests.fuzz.bending import bent
    from tests.fuzz.parser_target import check


def mutated(element: bytes, longest: int, seed: int) -> bytes:
    """Changes that keep the element JSON, in turn with libFuzzer's own, which know nothing of JSON."""
    if seed % 3:
        try:
            return bent(element, Random(seed))[:longest]
        except (ValueError, RecursionError):
            pass
    return bytes(atheris.Mutate(element, longest))


atheris.Setup(sys.argv, check, custom_mutator=mutated)
atheris.Fuzz()

"""JSON in what a language model says: alone, in a code fence, or with prose around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ourvidz_worker.contract import strict_json

# Content with an unfinished string, so that no text takes more than one pass.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_OPENING = re.compile(r"[\[{]")
_MOST_CANDIDATES = 50


class NoJson(Exception):
    """Its message is what to tell the model."""


def json_in(answer: str) -> Any:
    """The largest JSON object or array in an answer, by its text; raises `NoJson`."""
    documents: list[tuple[int, Any]] = []
    problem = "it holds no JSON object"
    for candidate in _candidates(answer):
        try:
            document = strict_json.decode(candidate)
        except ValueError as error:
            problem = f"it {error}"
            continue
        documents.append((len(candidate), document))
    if not documents:
        raise NoJson(problem)
    _, document = max(documents, key=lambda found: found[0])
    for path, flaw in strict_json.flaws(document):
        raise NoJson(f"{path or 'it'} {flaw}")
    return document


def _candidates(answer: str) -> Iterator[str]:
    """Each stretch from an opening bracket to the one that closes it; what never closes counts to the end."""
    start = 0
    for _ in range(_MOST_CANDIDATES):
        opening = _OPENING.search(answer, start)
        if opening is None:
            return
        end = _end_of(answer, opening.start())
        yield answer[opening.start() : end]
        start = end


def _end_of(answer: str, start: int) -> int:
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(answer, start):
        if token[0] in ("{", "["):
            depth += 1
        elif token[0] in ("}", "]"):
            depth -= 1
            if depth == 0:
                return token.end()
    return len(answer)

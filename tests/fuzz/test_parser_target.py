"""The fuzzer's target without the fuzzer: its seeds, and the mutations that need no coverage to guide them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.envelope import Delivery
from tests.contract.samples import PROPERTY
from tests.fuzz import parser_target
from tests.fuzz.bending import bent
from tests.fuzz.parser_target import check, seeds, tokens

SEEDS = list(seeds())


@pytest.mark.parametrize("element", SEEDS, ids=lambda element: f"{len(element)} bytes")
def test_the_fuzzer_begins_with_elements_that_pass(element: bytes) -> None:
    check(element)


@given(element=st.sampled_from(SEEDS), random=st.randoms(use_true_random=False), times=st.integers(1, 6))
@PROPERTY
def test_any_change_of_structure_passes(element: bytes, random: Random, times: int) -> None:
    for _ in range(times):
        try:
            element = bent(element, random)
        except (ValueError, RecursionError):
            break
        check(element)


@given(
    element=st.sampled_from(SEEDS),
    token=st.sampled_from(tokens()).map(lambda token: token.encode("utf-8")) | st.binary(max_size=8),
    place=st.floats(0, 1),
    lost=st.integers(0, 40),
)
@PROPERTY
def test_any_change_of_bytes_passes(element: bytes, token: bytes, place: float, lost: int) -> None:
    position = int(place * len(element))
    check(element[:position] + token + element[position + lost :])


@given(element=st.binary())
@PROPERTY
def test_any_bytes_pass(element: bytes) -> None:
    check(element)


@pytest.mark.parametrize("error", [TypeError("crash"), RecursionError(), UnicodeEncodeError("utf-8", "", 0, 1, "bad")])
def test_the_target_finds_a_parser_that_crashes(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise error

    monkeypatch.setattr(parser_target, "parse_job", crash)
    with pytest.raises(type(error)):
        check(SEEDS[0])


def test_the_target_finds_a_delivery_that_loses_the_producer_s_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    redelivery = next(element for element in SEEDS if b'"started":"0f"' in element)
    check(redelivery)
    monkeypatch.setattr(Delivery, "begun", lambda delivery, _mark: delivery.original)
    with pytest.raises(AssertionError):
        check(redelivery)

"""Queue elements: the producers' wrappings, what is no job at all, and our own redelivery envelope."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.envelope import MAX_ELEMENT_CHARACTERS, Delivery, open_delivery, open_payload
from ourvidz_worker.contract.payload_error import MalformedElement
from tests.contract.samples import JOB_ID, PROPERTY, compact, parsed, payload, refused

anything = st.text(st.characters())


@pytest.mark.parametrize(
    "element",
    [
        compact({"data": payload()}),
        compact([payload()]),
        compact(compact([compact(payload())])),
        json.dumps(payload(), indent=1),
        f" \n{compact(payload())}\n",
    ],
)
def test_wrappings_between_the_recorded_ones_are_opened_too(element: str) -> None:
    assert parsed(element) == parsed(payload())


def test_a_job_may_have_a_field_named_data() -> None:
    assert parsed(payload(data="{}")).id == JOB_ID


def test_of_two_equal_keys_the_last_counts_as_for_the_product() -> None:
    """`JSON.parse` keeps the last one, and the product's functions read the same element."""
    element = compact(payload()).replace('"num_images":1', '"num_images":1,"num_images":3')
    assert parsed(element).num_images == 3


@pytest.mark.parametrize(
    "element",
    [
        "",
        "   ",
        "hello",
        "{",
        compact(payload())[:-1],
        "{'id': 'a'}",
        "\ufeff" + compact(payload()),
        "null",
        "NaN",
        "-Infinity",
        "7",
        "true",
        '""',
        '"hello"',
        "[]",
        compact([compact(payload()), compact(payload())]),
        '{"data":null}',
        '{"data":7}',
        '{"data":"nonsense"}',
        "[" * 100_000,
        '{"data":' * 100_000,
        '{"seed":' + "9" * 5_000 + "}",
        "\x00",
        "\ud800",
    ],
    ids=lambda element: repr(element[:20]),
)
def test_an_element_without_a_job_is_malformed(element: str) -> None:
    """Nobody can be told that it failed, so it carries no job id: it is put aside."""
    error = refused(element)
    assert isinstance(error, MalformedElement)
    assert (error.field, error.job_id) == ("element", None)
    assert len(str(error)) < 250


@pytest.mark.parametrize(
    "wrong", [None, "", 7, True, {}, [], "../x", "a/b", "a b", "ä", "a\n", "a\x00", "\ud800", "x" * 129]
)
def test_a_job_without_a_usable_id_is_malformed(wrong: object) -> None:
    """'`user_id` and `job_id` come from outside: anything but letters, digits, `-` and `_` is refused before a
    path is built.'
    """
    for element in (payload(id=wrong), payload(id=None, job_id=wrong)):
        error = refused(element)
        assert isinstance(error, MalformedElement)
        assert error.job_id is None


def test_newer_producers_name_the_job_twice() -> None:
    """'Newer producers add `job_id`, `job_type`, `quality`, `format`.'"""
    newer = {"job_id": JOB_ID, "job_type": "image_fast", "quality": "fast", "format": "image"}
    assert parsed(payload("image_fast", **newer)) == parsed(payload("image_fast"))
    assert parsed(payload("image_fast", **newer, id=None)) == parsed(payload("image_fast"))
    assert parsed({**payload(), **newer, "type": None}).type.name == "image_fast"
    assert isinstance(refused(payload(job_id="another")), MalformedElement)


def test_an_element_of_ten_megabytes_is_refused_unread() -> None:
    for element in (compact(payload(prompt="a" * 10_000_000)), "[" * 10_000_000):
        error = refused(element)
        assert isinstance(error, MalformedElement)
        assert str(MAX_ELEMENT_CHARACTERS) in str(error)
        again = refused(Delivery(element).again("died", charged=True))
        assert str(again) == str(error)


def test_an_element_of_exactly_the_allowed_size_is_read() -> None:
    element = compact(payload())
    assert parsed(element.ljust(MAX_ELEMENT_CHARACTERS)).id == JOB_ID
    assert isinstance(refused(element.ljust(MAX_ELEMENT_CHARACTERS + 1)), MalformedElement)


def test_nesting_at_the_very_edge_of_the_interpreter_is_an_error_like_any_other() -> None:
    """Whatever depth `json` can still read must not end in a RecursionError further on."""
    limit = sys.getrecursionlimit()
    for depth in range(limit - 150, limit + 5):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            nested = f"{opening * depth}1{closing * depth}"
            for field in ("references", "prompt", "created_at", "job_id"):
                refused(compact(payload(**{field: "HERE"})).replace('"HERE"', nested))
            refused(nested)


def test_the_first_redelivery_without_a_charge_is_the_producer_s_bytes() -> None:
    original = json.dumps(payload(), indent=1)
    assert open_delivery(original) == Delivery(original, attempt=1, history=())
    assert Delivery(original).again("the model did not load", charged=False) == original


@given(original=anything, reasons=st.lists(st.tuples(anything, st.booleans()), max_size=5))
@PROPERTY
def test_redeliveries_carry_the_count_the_reasons_and_the_untouched_bytes(
    original: str, reasons: list[tuple[str, bool]]
) -> None:
    delivery = open_delivery(Delivery(original).again("first", charged=True))
    for reason, charged in reasons:
        delivery = open_delivery(delivery.again(reason, charged=charged))
    charged_reasons = [reason for reason, charged in reasons if charged]
    assert delivery == Delivery(original, 2 + len(charged_reasons), ("first", *charged_reasons))


@given(original=anything, attempt=st.integers(1, 9), history=st.lists(anything), reason=anything)
@PROPERTY
def test_a_dead_letter_keeps_the_bytes_and_every_reason(
    original: str, attempt: int, history: list[str], reason: str
) -> None:
    letter = Delivery(original, attempt, tuple(history)).dead_letter(reason)
    assert letter.isascii()
    assert json.loads(letter) == {
        "reason": reason,
        "attempt": attempt,
        "history": history,
        "element": original,
    }


def test_the_attempt_reaches_the_job() -> None:
    thrice = Delivery(compact(payload()), attempt=3, history=("a", "b"))
    assert parsed(thrice.again("c", charged=True)).attempt == 4


@pytest.mark.parametrize(
    "envelope",
    [
        None,
        7,
        "text",
        [],
        {},
        {"attempt": 2, "history": []},
        {"attempt": 2, "history": [], "element": 7},
        {"attempt": 0, "history": [], "element": "{}"},
        {"attempt": -3, "history": [], "element": "{}"},
        {"attempt": "2", "history": [], "element": "{}"},
        {"attempt": 1.5, "history": [], "element": "{}"},
        {"attempt": float("inf"), "history": [], "element": "{}"},
        {"attempt": float("nan"), "history": [], "element": "{}"},
        {"attempt": 2, "history": "ab", "element": "{}"},
        {"attempt": 2, "history": [None], "element": "{}"},
    ],
)
def test_an_envelope_that_only_looks_like_ours_is_a_first_delivery(envelope: object) -> None:
    """A count that cannot be trusted must not become attempt -3, which would run for ever."""
    element = compact({"ourvidz_redelivery": envelope})
    assert open_delivery(element) == Delivery(element)
    assert isinstance(refused(element), MalformedElement)


@given(tail=anything)
@PROPERTY
def test_text_that_begins_like_our_envelope_is_never_lost(tail: str) -> None:
    element = '{"ourvidz_redelivery"' + tail
    assert open_delivery(element).original


def test_an_opened_payload_is_the_producer_s_object() -> None:
    assert open_payload(compact(payload())) == payload()

"""Queue elements: the producers' wrappings, what is no job at all, and our own redelivery envelope."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.envelope import REDELIVERY_PREFIX, Delivery, one_line, open_delivery, open_payload
from ourvidz_worker.contract.payload_error import MalformedElement
from tests.contract.samples import JOB_ID, PROPERTY, compact, json_values, parsed, payload, refused
from tests.fuzz.parser_target import check

DIED_AT = "2026-11-21T04:00:00+00:00"
anything = st.text(st.characters())
queued = st.binary().map(lambda element: element.decode("utf-8", "surrogateescape"))


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


def test_a_first_delivery_is_put_back_as_the_producer_s_bytes() -> None:
    original = json.dumps(payload(), indent=1)
    assert open_delivery(original) == Delivery(original, attempt=1, history=())
    assert Delivery(original).untouched() == original
    redelivered = Delivery(original).again("the model did not load", charged=False)
    assert open_delivery(redelivered) == Delivery(original, attempt=1, history=("the model did not load",))
    assert open_delivery(redelivered).untouched() == redelivered


@given(original=queued, reasons=st.lists(st.tuples(anything, st.booleans()), max_size=14))
@PROPERTY
def test_redeliveries_carry_the_count_the_latest_reasons_and_the_untouched_bytes(
    original: str, reasons: list[tuple[str, bool]]
) -> None:
    delivery = open_delivery(Delivery(original).again("first", charged=True))
    for reason, charged in reasons:
        begun = open_delivery(delivery.begun("0f"))
        assert begun == replace(delivery, mark="0f")
        delivery = open_delivery(begun.again(reason, charged=charged))
    charges = sum(charged for _, charged in reasons)
    assert delivery == Delivery(original, 2 + charges, ("first", *(one_line(reason) for reason, _ in reasons))[-10:])


@given(reason=anything)
@PROPERTY
def test_a_reason_is_kept_as_one_short_line(reason: str) -> None:
    """Users get to read it, and PostgreSQL stores no NUL."""
    line = one_line(reason)
    assert line.isprintable()
    assert len(line) <= 500
    assert one_line(line) == line


@given(original=queued, attempt=st.integers(1, 9), history=st.lists(anything), reason=anything)
@PROPERTY
def test_a_dead_letter_keeps_the_bytes_and_every_reason(
    original: str, attempt: int, history: list[str], reason: str
) -> None:
    letter = Delivery(original, attempt, tuple(history)).dead_letter(reason, died_at=DIED_AT)
    assert letter.isascii()
    assert json.loads(letter) == {
        "reason": reason,
        "attempt": attempt,
        "history": history,
        "died_at": DIED_AT,
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
        {"attempt": True, "history": [], "element": "{}"},
        {"attempt": 10**400, "history": [], "element": "{}"},
        {"attempt": 2, "history": [], "element": "\ud800"},
        {"attempt": 2, "history": ["two\nlines"], "element": "{}"},
        {"attempt": 2, "history": [], "element": "{}", "started": True},
        {"attempt": 2, "history": [], "element": "{}", "started": "not hexadecimal"},
        {"attempt": 2, "history": ["x" * 501], "element": "{}"},
    ],
)
def test_an_envelope_that_only_looks_like_ours_is_a_first_delivery(envelope: object) -> None:
    """A count that cannot be trusted must not become attempt -3, which would run for ever."""
    element = compact({"ourvidz_redelivery": envelope})
    assert open_delivery(element) == Delivery(element)
    assert isinstance(refused(element), MalformedElement)


@pytest.mark.parametrize("twice", ["attempt", "history", "element", "started"])
def test_an_envelope_that_says_one_thing_twice_is_not_ours(twice: str) -> None:
    ours = Delivery("{}", attempt=2, history=("a",)).begun("0f")
    element = ours.replace(f'"{twice}":', f'"{twice}":3,"{twice}":')
    assert open_delivery(element) == Delivery(element)


@given(element=queued.map(lambda tail: REDELIVERY_PREFIX + tail))
@PROPERTY
def test_bytes_that_begin_like_our_envelope_are_never_lost(element: str) -> None:
    check(element.encode("utf-8", "surrogateescape"))
    assert open_delivery(element).original


@given(
    envelope=st.fixed_dictionaries(
        {},
        optional={
            "attempt": st.integers() | json_values,
            "history": st.lists(anything) | json_values,
            "element": anything | queued | json_values,
            "started": st.sampled_from(["0f", True, "", "XY"]) | json_values,
        },
    )
)
@PROPERTY
def test_an_envelope_from_somebody_else_goes_every_way_that_ours_do(envelope: dict[str, object]) -> None:
    check(compact({"ourvidz_redelivery": envelope}).encode())


def test_an_opened_payload_is_the_producer_s_object() -> None:
    assert open_payload(compact(payload())) == payload()

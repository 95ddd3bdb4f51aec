"""Elements made to hurt: refused with a reason, and with the job's id wherever one can be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.envelope import MAX_ELEMENT_BYTES, Delivery
from ourvidz_worker.contract.payload_error import MalformedElement
from tests.contract.samples import (
    CATALOGUE,
    ENVELOPES,
    JOB_ID,
    PROPERTY,
    compact,
    json_values,
    parsed,
    payload,
    refused,
    texts,
)
from tests.fuzz.parser_target import check

FLAWS = {
    "NaN": "is NaN",
    "-Infinity": "is -Infinity",
    "1e999": "larger than a double",
    "9" * 5_000: "larger than a double",
    "[" * 70 + "]" * 70: "levels deep",
    '{"a":' * 70 + "1" + "}" * 70: "levels deep",
    '"\\ud800"': "surrogate pair",
    '"\\u0000"': "NUL character",
    '{"a":1,"a":2}': "is given twice",
    '{"a\\u0000":1}': "has a name",
}
_FIELDS = """
    id job_id type job_type prompt user_id config metadata negative_prompt created_at video_id image_id character_id
    model_variant bucket num_images seed steps guidance_scale resolution width height references reference_image_url
    reference_type reference_strength first_frame last_frame data nobody_reads_this
"""
EVERY_FIELD = _FIELDS.split()


def element_with(extra: str, **changes: Any) -> str:
    """A payload's JSON with more members in it, written as they are given."""
    return f"{compact(payload(**changes))[:-1]},{extra}}}"


def wrapped(element: str, envelope: str) -> str:
    """The element in an envelope of JSON text."""
    if envelope == "our redelivery":
        return Delivery(element).again("the worker died", charged=True)
    return {
        "{job}": element,
        '"<json string of job>"': compact(element),
        '["<json string of job>"]': compact([element]),
        '{"data": "<json string of job>"}': compact({"data": element}),
    }[envelope]


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw[:12])
@pytest.mark.parametrize("section", ["nobody_reads_this", "config", "references"])
def test_the_user_hears_of_a_flaw_anywhere_in_a_job(section: str, flaw: str, envelope: str) -> None:
    without = {name: value for name, value in payload().items() if name != section}
    error = refused(wrapped(f'{compact(without)[:-1]},"{section}":[{flaw}]}}', envelope))
    assert not isinstance(error, MalformedElement)
    assert error.job_id == JOB_ID
    assert error.field.startswith(f"{section}[0]")
    assert FLAWS[flaw] in error.problem


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw[:12])
def test_a_wrapping_is_looked_at_like_what_it_wraps(flaw: str) -> None:
    for inside in (compact(payload()), compact(compact(payload()))):
        error = refused(f'{{"data":{inside},"note":{flaw}}}')
        assert error.job_id == JOB_ID
        assert error.field.startswith("note")
    assert isinstance(refused(f'{{"data":{flaw},"data":{compact(payload())}}}'), MalformedElement)
    assert isinstance(refused(f'{{"data":{flaw}}}'), MalformedElement)
    assert isinstance(refused(f"[{flaw}]"), MalformedElement)
    assert isinstance(refused(flaw), MalformedElement)


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        (f'"id":"{JOB_ID}"', "id"),
        ('"id":"another"', "id"),
        ('"\\u0069d":"another"', "id"),
        (f'"job_id":"{JOB_ID}","job_id":"{JOB_ID}"', "job_id"),
        ('"job_id":"another"', "job_id"),
        ('"job_id":NaN', "job_id"),
        ('"job_id":[' + "[" * 70 + "]" * 70 + "]", "job_id"),
    ],
)
def test_an_id_that_is_not_clear_names_no_job(extra: str, field: str) -> None:
    """Two ids could be two jobs, and a failure must not be reported to the wrong one."""
    for envelope in ENVELOPES:
        error = refused(wrapped(element_with(extra), envelope))
        assert isinstance(error, MalformedElement)
        assert (error.field, error.job_id) == (field, None)


@pytest.mark.parametrize(
    "wrong",
    [7, 7.5, True, ["a"], {"a": 1}, "\u202ejob", "job\u200b", "\uff11", "jo\u0301b", "\u0430bc", "a\r", "__proto__/x"],
)
@pytest.mark.parametrize("field", ["id", "user_id", "image_id", "video_id"])
def test_an_id_is_plain_ascii(field: str, wrong: object) -> None:
    """Direction marks, zero-width characters and look-alike letters have no place in a path."""
    error = refused(payload(**{field: wrong}))
    assert error.field == field
    assert isinstance(error, MalformedElement) is (field == "id")
    assert str(error).isprintable()


def test_names_that_mean_something_to_other_languages_mean_nothing() -> None:
    odd = {"__proto__": {"id": "x"}, "constructor": {"prototype": {}}, "__class__": "dict", "$ref": "#", "toString": 1}
    assert parsed({**payload(), **odd}) == parsed(payload())
    assert parsed(payload(config={"num_images": 1, **odd}, metadata=odd)) == parsed(payload())
    assert parsed(payload(id="__proto__")).id == "__proto__"


@pytest.mark.parametrize("field", EVERY_FIELD)
@pytest.mark.parametrize("letter", ["9", "a", " ", "\u202e", "\U0001f600", '"'])
def test_an_endless_text_in_any_field_is_a_job_or_refused(field: str, letter: str) -> None:
    longest = MAX_ELEMENT_BYTES // len(compact(letter)) - 1_000
    for job_type in ("sdxl_image_fast", "video_high"):
        for value in (letter * longest, [letter * longest]):
            check(compact(payload(job_type) | {field: value}).encode())
            check(compact(payload(job_type, metadata={field: value})).encode())
            check(compact(payload(job_type, config={field: value})).encode())


@pytest.mark.parametrize("key", ["a\nb", "\x1b[2J", "\u202e", "k" * 50_000, "\x00" * 1_000, "\ud800", "'\"\\"])
def test_a_key_never_makes_a_message_long_or_wild(key: str) -> None:
    for value in (float("nan"), "\x00", {key: {key: {key: float("nan")}}}):
        for bent in (payload(**{key: value}), payload(config={key: value}), payload(references=[{key: value}])):
            check(compact(bent).encode())
            error = refused(bent)
            assert error.job_id == JOB_ID
            assert len(error.field) <= 61


def test_an_element_of_ten_megabytes_is_refused_unread() -> None:
    for element in (compact(payload(prompt="a" * 10_000_000)), "[" * 10_000_000):
        error = refused(element)
        assert isinstance(error, MalformedElement)
        assert str(MAX_ELEMENT_BYTES) in str(error)
        again = refused(Delivery(element).again("died", charged=True))
        assert str(again) == str(error)


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u20ac", "\U0001f600", "\udc80"])
def test_an_element_of_exactly_the_allowed_bytes_is_read(letter: str) -> None:
    """A byte that is not UTF-8 arrives as half of a surrogate pair and counts as one."""
    room = MAX_ELEMENT_BYTES - len(element_with('"x":""'))
    element = element_with(f'"x":"{letter * (room // len(letter.encode("utf-8", "surrogateescape")))}"')
    size = len(element.encode("utf-8", "surrogateescape"))
    element += " " * (MAX_ELEMENT_BYTES - size)
    if letter == "\udc80":
        assert refused(element).field == "x"
    else:
        assert parsed(element).id == JOB_ID
    over = refused(element + " ")
    assert (over.field, over.job_id) == ("element", None)


@given(element=texts)
@PROPERTY
def test_text_with_surrogates_of_any_kind_is_refused_in_words(element: str) -> None:
    """No bytes decode to such text, but a redelivery can spell it."""
    check(compact({"ourvidz_redelivery": {"attempt": 1, "history": [], "element": element}}).encode())
    with pytest.raises(MalformedElement):
        parsed(f"\ud800{element}")


@given(value=json_values, envelope=st.sampled_from(list(ENVELOPES)))
@PROPERTY
def test_any_json_in_any_envelope_is_a_job_or_one_short_line(value: Any, envelope: str) -> None:
    check(ENVELOPES[envelope](value).encode())


@given(
    job_type=st.sampled_from(list(CATALOGUE)),
    field=st.sampled_from(EVERY_FIELD),
    section=st.sampled_from(["config", "metadata", None]),
    value=json_values,
    envelope=st.sampled_from(list(ENVELOPES)),
)
@PROPERTY
def test_any_json_in_any_field_is_a_job_or_one_short_line(
    job_type: str, field: str, section: str | None, value: Any, envelope: str
) -> None:
    bent = payload(job_type) | ({section: {field: value}} if section else {field: value})
    check(ENVELOPES[envelope](bent).encode())

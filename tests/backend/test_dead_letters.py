"""Reading what lies among the dead letters, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.backend.queue.dead_letters import Letter, named, read_letter
from ourvidz_worker.backend.queue.glimpses import SMALL, Glimpse
from ourvidz_worker.contract.envelope import Delivery
from tests.contract.samples import CATALOGUE, JOB_ID, PROPERTY, compact, payload

ELEMENT = compact(payload())
DIED_AT = "2026-01-02T03:04:05+00:00"


def glimpse(text: str) -> Glimpse:
    return Glimpse(len(text.encode("utf-8", "surrogateescape")), text)


def partial(text: str) -> Glimpse:
    """What a look sees of a letter that is larger than it sends whole."""
    return Glimpse(len(text), text[: SMALL // 2], text[-SMALL // 2 :])


def read(text: str) -> Letter:
    return read_letter("sdxl_queue", glimpse(text), CATALOGUE)


def test_a_letter_of_a_worker_tells_everything() -> None:
    delivery = Delivery(ELEMENT, attempt=3, history=("it died", "it died again"))
    letter = read(delivery.dead_letter("it would not run", died_at=DIED_AT))
    assert (letter.reason, letter.attempt, letter.died_at) == ("it would not run", 3, DIED_AT)
    assert letter.history == ("it died", "it died again")
    assert (letter.job_id, letter.job_type) == (JOB_ID, "sdxl_image_fast")
    assert letter.element == ELEMENT
    assert letter.problem is None


def test_a_letter_of_an_older_worker_does_not_say_when() -> None:
    letter = read(json.dumps({"reason": "old", "attempt": 2, "history": [], "element": ELEMENT}))
    assert letter.died_at is None
    assert letter.job_id == JOB_ID


@pytest.mark.parametrize(
    ("element", "job_id", "said"),
    [
        ("{broken", None, "not JSON"),
        (compact({"type": "sdxl_image_fast"}), None, "id is missing"),
        (compact(payload(prompt="")), JOB_ID, "prompt is empty"),
        ("\udcff", None, "not JSON"),
    ],
)
def test_an_element_that_no_worker_would_run_says_why(element: str, job_id: str | None, said: str) -> None:
    letter = read(Delivery(element).dead_letter("refused", died_at=DIED_AT))
    assert (letter.element, letter.job_id) == (element, job_id)
    assert letter.problem is not None
    assert said in letter.problem


@pytest.mark.parametrize(
    "text", ["", "garbage", "\x1b[2J", "null", "[1]", "[" * 100_000, '{"reason"', '{"attempt":1}', "\udcff\udc80"]
)
def test_what_is_no_letter_is_called_so(text: str) -> None:
    letter = read(text)
    assert "no dead letter" in letter.reason
    assert letter.element is None
    assert letter.problem is not None


@pytest.mark.parametrize(
    "document",
    [
        {"reason": 7, "attempt": "x", "history": "y", "died_at": [], "element": {"id": JOB_ID}},
        {"reason": None, "attempt": True, "history": [None, 1], "element": "\ud800"},
        {"reason": ""},
    ],
)
def test_a_letter_with_wrong_values_is_read_without_them(document: dict[str, Any]) -> None:
    letter = read(json.dumps(document))
    assert letter.reason == "no reason was given"
    assert (letter.attempt, letter.died_at, letter.element, letter.job_id) == (None, None, None, None)
    assert letter.problem is not None


@PROPERTY
@given(st.binary())
def test_any_bytes_can_be_read(content: bytes) -> None:
    read(content.decode("utf-8", "surrogateescape"))


@PROPERTY
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(("reason", "attempt", "history", "element", "died_at")), inner)
        ),
    )
)
def test_any_json_can_be_read(document: object) -> None:
    read(json.dumps(document))


def test_of_a_large_letter_all_but_the_element_is_read() -> None:
    text = Delivery("x" * 10 * SMALL, 2, ("once",)).dead_letter('a reason with ,"element":" inside', died_at=DIED_AT)
    letter = read_letter("sdxl_queue", partial(text), CATALOGUE)
    assert letter.reason == 'a reason with ,"element":" inside'
    assert (letter.attempt, letter.history, letter.died_at) == (2, ("once",), DIED_AT)
    assert letter.element is None
    assert letter.problem == f"it has {len(text)} bytes"


def test_a_letter_has_the_same_id_however_much_of_it_was_read() -> None:
    text = Delivery("x" * 10 * SMALL).dead_letter("large", died_at=DIED_AT)
    assert partial(text).digest == glimpse(text).digest
    assert glimpse(text).digest != glimpse(text + " ").digest


def test_a_letter_is_named_by_its_job_or_by_the_beginning_of_its_id() -> None:
    letters = [read(Delivery(ELEMENT).dead_letter(reason, died_at=DIED_AT)) for reason in ("one", "two")]
    first = letters[0]
    assert named(letters, JOB_ID) == letters
    assert named(letters, first.id) == [first]
    assert named(letters, first.id[:8].upper()) == [first]
    assert named(letters, first.id[:3]) == []
    assert named(letters, "") == []
    assert named(letters, "another-job") == []

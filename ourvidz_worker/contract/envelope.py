"""How a job is wrapped on the queue: by producers, and by this worker when it is delivered again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.contract.fields import first_in, identifier
from ourvidz_worker.contract.payload_error import MalformedElement, PayloadError, shown
from ourvidz_worker.contract.strict_json import Flaw, decode, flaws

MAX_ELEMENT_BYTES = 262_144
_MAX_WRAPPINGS = 4
_REDELIVERY = "ourvidz_redelivery"
REDELIVERY_PREFIX = '{"' + _REDELIVERY
_KEPT_REASONS = 10
_LONGEST_REASON = 500
_MARK = re.compile("[0-9a-f]{1,32}")
_ID_NAMES = ("id", "job_id")
_SHOWN_PATH = 60


@dataclass(frozen=True, slots=True)
class Delivery:
    """A queue element taken apart: the producer's own bytes, and how often it was tried.

    `attempt` counts generations: the first delivery and every one that follows a generation that was begun.
    `history` holds one reason per delivery that came to nothing. `mark` is there once a generation was begun in
    this delivery; only an element in a held list has it.
    """

    original: str
    attempt: int = 1
    history: tuple[str, ...] = ()
    mark: str | None = None

    @property
    def started(self) -> bool:
        """Whether generation has begun in this delivery."""
        return self.mark is not None

    @property
    def redelivered(self) -> bool:
        """Whether the product may have heard of this job from an earlier delivery."""
        return self.attempt > 1 or bool(self.history)

    def begun(self, mark: str) -> str:
        """The element to hold once generation has begun, so that whoever finds it knows to charge the attempt.

        The `mark`, hexadecimal digits, is another for each claim: a job that was put back is the same bytes again, and
        a command of its earlier life that Redis carries out late must find nothing.
        """
        return _envelope(self.original, self.attempt, self.history, mark)

    def untouched(self) -> str:
        """The element as it was claimed."""
        return _envelope(self.original, self.attempt, self.history) if self.redelivered else self.original

    def again(self, reason: str, *, charged: bool) -> str:
        """The element to queue after this delivery came to nothing for `reason`.

        An attempt is charged only once generation started. Of a long history the latest reasons are kept, each as
        one line that can be shown to a person.
        """
        return _envelope(self.original, self.attempt + charged, (*self.history, one_line(reason))[-_KEPT_REASONS:])

    def dead_letter(self, reason: str, *, died_at: str) -> str:
        """The element to keep for an operator, with the raw bytes and every reason; `died_at` is an ISO 8601 time."""
        letter = {
            "reason": reason,
            "attempt": self.attempt,
            "history": list(self.history),
            "died_at": died_at,
            "element": self.original,
        }
        return json.dumps(letter, separators=(",", ":"))


def _envelope(original: str, attempt: int, history: Sequence[str], mark: str | None = None) -> str:
    envelope: dict[str, Any] = {"attempt": attempt, "history": list(history), "element": original}
    if mark is not None:
        envelope["started"] = mark
    return json.dumps({_REDELIVERY: envelope}, separators=(",", ":"))


def open_delivery(element: str) -> Delivery:
    """Separate our redelivery envelope from the producer's element; anything else is a first delivery."""
    if not element.startswith(REDELIVERY_PREFIX):
        return Delivery(element)
    try:
        envelope = decode(element).get(_REDELIVERY)
    except ValueError:
        return Delivery(element)
    match envelope:
        case {"element": str(original), "attempt": int(attempt), "history": list(history)} if (
            attempt is not True
            and attempt >= 1
            and all(isinstance(reason, str) and reason == one_line(reason) for reason in history)
            and _is_bytes(original)
            and _is_mark(mark := envelope.get("started"))
        ):
            return Delivery(original, attempt, tuple(history), mark)
        case _:
            return Delivery(element)


def one_line(reason: str) -> str:
    """A reason as a history keeps it: users get to read it, and PostgreSQL stores no NUL."""
    words = " ".join(reason.split())[:_LONGEST_REASON].rstrip()
    return "".join(character if character.isprintable() else "?" for character in words)


def _is_mark(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _MARK.fullmatch(value) is not None)


def _is_bytes(text: str) -> bool:
    """Whether a text can have come from Redis, where every element is bytes."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def open_payload(original: str) -> Mapping[str, Any]:
    """The job object inside a producer's element.

    Producers changed their envelope over time; `{job}`, `"<json string>"`, `["<json string>"]` and
    `{"data": "<json string>"}` are the same job (contract section 1). Raises `MalformedElement` when no one
    job can be made out, and `PayloadError` with the job's id when a value in the element is no clear one.
    """
    # The bytes that are no UTF-8 count as one each, as they do in Redis.
    length = len(original.encode("utf-8", "replace"))
    if length > MAX_ELEMENT_BYTES:
        raise MalformedElement("element", f"has {length} bytes; at most {MAX_ELEMENT_BYTES} are accepted")
    value: Any = original
    flaw: tuple[str, str] | None = None
    for _ in range(_MAX_WRAPPINGS):
        if isinstance(value, str):
            value = _decode(value)
            flaw = flaw or next(flaws(value), None)
        elif isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict) and "data" in value and not {"id", "job_id", "type"} & value.keys():
            value = value["data"]
        else:
            break
    if flaw is not None:
        field, problem = flaw
        job_id = job_id_of(value) if isinstance(value, dict) else None
        raise (PayloadError if job_id else MalformedElement)(_short(field), problem, job_id=job_id)
    if isinstance(value, dict):
        return value
    raise MalformedElement("element", f"must hold one job object, got {shown(value)}")


def job_id_of(payload: Mapping[str, Any]) -> str:
    """The id of a job, which newer producers write twice. Raises `MalformedElement` when it is not clear."""
    for name in _ID_NAMES:
        if isinstance(flaw := payload.get(name), Flaw):
            raise MalformedElement(name, flaw.problem)
    found = first_in(payload, _ID_NAMES)
    if found is None:
        raise MalformedElement("id", "is missing")
    try:
        job_id = identifier(found)
    except PayloadError as error:
        raise MalformedElement(error.field, error.problem) from None
    if payload.get("job_id") not in (None, "", job_id):
        raise MalformedElement("job_id", "differs from id")
    return job_id


def _decode(text: str) -> Any:
    try:
        return decode(text)
    except ValueError as error:
        raise MalformedElement("element", str(error)) from None


def _short(path: str) -> str:
    """The path of a value in an element; of the element itself it is empty."""
    return f"{path[:_SHOWN_PATH]}…" if len(path) > _SHOWN_PATH else path or "element"

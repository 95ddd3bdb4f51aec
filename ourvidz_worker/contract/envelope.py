"""How a job is wrapped on the queue: by producers, and by this worker when it is delivered again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.contract.payload_error import MalformedElement, shown

MAX_ELEMENT_CHARACTERS = 1_048_576
_MAX_WRAPPINGS = 4
_REDELIVERY = "ourvidz_redelivery"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A queue element taken apart: the producer's own bytes, and how often it was tried.

    `history` holds one reason per attempt that was given up.
    """

    original: str
    attempt: int = 1
    history: tuple[str, ...] = ()

    def again(self, reason: str, *, charged: bool) -> str:
        """The element to queue for another delivery.

        An attempt is charged only once generation started; an uncharged first delivery is the producer's
        bytes untouched.
        """
        if not charged and self.attempt == 1:
            return self.original
        history = [*self.history, reason] if charged else list(self.history)
        envelope = {"attempt": self.attempt + charged, "history": history, "element": self.original}
        return json.dumps({_REDELIVERY: envelope}, separators=(",", ":"))

    def dead_letter(self, reason: str) -> str:
        """The element to keep for an operator, with the raw bytes and every reason."""
        letter = {
            "reason": reason,
            "attempt": self.attempt,
            "history": list(self.history),
            "element": self.original,
        }
        return json.dumps(letter, separators=(",", ":"))


def open_delivery(element: str) -> Delivery:
    """Separate our redelivery envelope from the producer's element; anything else is a first delivery."""
    if not element.startswith('{"' + _REDELIVERY):
        return Delivery(element)
    try:
        envelope = json.loads(element)
    except (ValueError, RecursionError):
        return Delivery(element)
    match envelope.get(_REDELIVERY):
        case {"element": str(original), "attempt": int(attempt), "history": list(history)} if attempt >= 1 and all(
            isinstance(reason, str) for reason in history
        ):
            return Delivery(original, attempt, tuple(history))
        case _:
            return Delivery(element)


def open_payload(original: str) -> Mapping[str, Any]:
    """The job object inside a producer's element.

    Producers changed their envelope over time; `{job}`, `"<json string>"`, `["<json string>"]` and
    `{"data": "<json string>"}` are the same job (contract section 1). Raises `MalformedElement`.
    """
    if len(original) > MAX_ELEMENT_CHARACTERS:
        raise MalformedElement(
            "element", f"has {len(original)} characters; at most {MAX_ELEMENT_CHARACTERS} are accepted"
        )
    value: Any = original
    for _ in range(_MAX_WRAPPINGS):
        if isinstance(value, str):
            value = _decode(value)
        elif isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict) and "data" in value and not {"id", "job_id", "type"} & value.keys():
            value = value["data"]
        elif isinstance(value, dict):
            return value
        else:
            break
    if isinstance(value, dict):
        return value
    raise MalformedElement("element", f"must hold one job object, got {shown(value)}")


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise MalformedElement("element", "is nested too deeply to be a job") from None
    except ValueError as error:
        raise MalformedElement("element", f"is not JSON: {error}") from None

"""What is wrong with a payload, in one sentence that names the field."""

from __future__ import annotations

_SHOWN = 60


class PayloadError(ValueError):
    """A payload that cannot become a `Job`.

    `field` is the dotted path of the wrong field. `job_id` is the job's id if it could be read, so that the
    failure can be reported to the product.
    """

    def __init__(self, field: str, problem: str, *, job_id: str | None = None) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.job_id = job_id


class MalformedElement(PayloadError):
    """A queue element that names no job at all; it can only be put aside."""


def shown(value: object) -> str:
    """A wrong value as it may appear in a message: short, and on one line.

    Of an object or a list only its length: it may be large, and it may hold a signed URL.
    """
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"

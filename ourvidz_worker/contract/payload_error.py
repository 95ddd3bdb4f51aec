"""What is wrong with a payload, in one sentence that names the field."""

from __future__ import annotations

_SHOWN = 60


class PayloadError(ValueError):
    """A payload that cannot become a `Job`.

    `field` is the dotted path of the wrong field, `problem` the rest of the sentence. `job_id` is the job's id
    if it could be read, so that the failure can be reported to the product.
    """

    def __init__(self, field: str, problem: str, *, job_id: str | None = None) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem
        self.job_id = job_id


class MalformedElement(PayloadError):
    """A queue element that names no job at all; it can only be put aside."""


def shown(value: object) -> str:
    """A wrong value as it may appear in a message: short, and on one line.

    Of an object, a list or a URL only its length: each may hold a token.
    """
    if isinstance(value, str) and "://" in value:
        return f"a URL of {len(value)} characters"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"

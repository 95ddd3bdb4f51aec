"""What the doctor found, and what may be done about it at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from ourvidz_worker.backend.health import Finding
from ourvidz_worker.errors import ConfigurationError

Mend = Callable[[], Awaitable[str]]
"""Does what is safe, and says what it did; raises `OSError` or a `WorkerError`."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding and the part of the worker it is about; `fatal` if a worker cannot run with it.

    `mend` is what `--fix` does; it may stand with what is no problem, like a folder that is still to be made.
    """

    area: str
    finding: Finding
    fatal: bool = True
    mend: Mend | None = None


def good(area: str, sentence: str, *, mend: Mend | None = None) -> Diagnosis:
    return Diagnosis(area, Finding(ok=True, sentence=sentence), mend=mend)


def problem(area: str, sentence: str, cure: str) -> Diagnosis:
    """No worker can run with this."""
    return Diagnosis(area, Finding(ok=False, sentence=sentence, cure=cure))


def note(area: str, sentence: str, cure: str, *, mend: Mend | None = None) -> Diagnosis:
    """Workers run, and somebody should know."""
    return Diagnosis(area, Finding(ok=False, sentence=sentence, cure=cure), fatal=False, mend=mend)


def problems_of(area: str, error: ConfigurationError, cure: str) -> Iterator[Diagnosis]:
    """Each of them with its own cure where it names one."""
    for told in error.problems:
        sentence, _, own_cure = told.partition(": ")
        yield problem(area, sentence, own_cure or cure)


def counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"

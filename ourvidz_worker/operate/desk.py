"""What an operator knows of the product's side and may do there, whichever services it consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action, in a sentence; `forcible` where it was not done but may be insisted on."""

    done: bool
    sentence: str
    forcible: bool = False


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """A queue: how many jobs wait in it, the age of the first, and the expected seconds of work in all of them.

    `kind` names the workers that take its jobs. `coming` are the first of them, `held` is what each owner holds under
    which lease; both are JSON. Ages and work are None where the jobs do not say.
    """

    queue: str
    kind: str
    waiting: int
    dead: int
    oldest_seconds: float | None = None
    work_seconds: float | None = None
    coming: Sequence[Mapping[str, Any]] = ()
    held: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Papers:
    """One look at the backend: queues, and the newest dead letters and parked results, as JSON."""

    queues: Sequence[QueueFacts] = ()
    dead: Sequence[Mapping[str, Any]] = ()
    parked: Sequence[Mapping[str, Any]] = ()
    problems: Sequence[str] = field(default=())


class Desk(Protocol):
    """Every call raises a `WorkerError` with one sentence."""

    async def look(self) -> Papers:
        """A part that cannot be read is one of the problems and spoils no other."""

    async def requeue(self, letter_id: str, *, force: bool) -> Outcome: ...

    async def drop(self, letter_id: str) -> Outcome: ...

    async def resend(self, job_id: str) -> Outcome: ...

    async def discard(self, job_id: str) -> Outcome:
        """Remove a parked result for good."""

    async def cancel(self, job_id: str) -> Outcome: ...

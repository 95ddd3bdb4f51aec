"""Finding out that a worker hangs, from what it says and from what it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ourvidz_worker.control import Message, WorkerState

_SLOWEST_LOOK = 1.0
_LOOKS_PER_LIMIT = 10
_WORKING_PHASES = ("preparing", "enhancing", "generating")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: without any word, without progress of a job on the card, and until the models are loaded."""

    silence: float = 120.0
    step: float = 300.0
    load: float = 1800.0


@dataclass(frozen=True, slots=True)
class Hang:
    """What a worker did not do, as a clause about it, and for how long."""

    reason: str
    seconds: float


@dataclass(slots=True)
class _Work:
    """What is done for a job, as on the card, where decoding after the last step is part of it."""

    job_id: str
    phase: str
    step: int = 0
    steps: int = 0
    still: float = 0.0

    def __str__(self) -> str:
        at_step = f"at step {self.step} of {self.steps} of" if self.steps else f"while {self.phase}"
        return f"{at_step} job {self.job_id}"


class Watch:
    """Counts the seconds of one process without a word, without progress and without its models.

    They are counted from look to look, and a late look counts no more than two: when this process was paused
    itself, the worker may have talked all the time.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._looked_at = clock()
        self._silent: float | None = None
        self._loading: float | None = 0.0
        self._works: dict[str, _Work] = {}

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        shortest = min(self._limits.silence, self._limits.step, self._limits.load)
        return min(_SLOWEST_LOOK, shortest / _LOOKS_PER_LIMIT)

    def heard(self, message: Message) -> None:
        # Before the first word, while the interpreter and its libraries load, only the load limit counts.
        self._silent = 0.0
        if message.state in (WorkerState.READY, WorkerState.BUSY):
            self._loading = None
        if message.state is WorkerState.READY:
            self._works.clear()  # a worker with nothing to do: the end of a job was not heard
        elif message.job_id is not None:
            self._heard_of_job(message.job_id, message)

    def _heard_of_job(self, job_id: str, message: Message) -> None:
        if message.kind == "step":
            self._works[job_id] = _Work(job_id, "generating", message.step or 0, message.steps or 0)
        elif message.kind == "phase" and message.phase in _WORKING_PHASES:
            self._works[job_id] = _Work(job_id, message.phase)
        elif message.kind in ("phase", "done"):
            self._works.pop(job_id, None)

    def look(self) -> Hang | None:
        """To be called every `interval` seconds; returns what the worker failed to do in time, if anything."""
        now = self._clock()
        passed = min(now - self._looked_at, 2 * self.interval)
        self._looked_at = now
        self._count(passed)
        return self._verdict()

    def _count(self, passed: float) -> None:
        if self._silent is not None:
            self._silent += passed
        if self._loading is not None:
            self._loading += passed
        for work in self._works.values():
            work.still += passed

    def _verdict(self) -> Hang | None:
        limits = self._limits
        if self._silent is not None and self._silent >= limits.silence:
            return Hang(f"it was silent for {limits.silence:g} s", limits.silence)
        stuck = next((work for work in self._works.values() if work.still >= limits.step), None)
        if stuck is not None:
            return Hang(f"it made no step for {limits.step:g} s {stuck}", limits.step)
        if self._loading is not None and self._loading >= limits.load:
            return Hang(f"it had not loaded its models within {limits.load:g} s", limits.load)
        return None

"""What became of a worker's last jobs: those that failed, and how many are completed in a minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from ourvidz_worker.control import Message

FAILURES_KEPT = 50
RATE_WINDOW = 300.0
"""Seconds that the rate is measured over."""
_COMPLETIONS_KEPT = 10_000
_FAILED = ("failed", "dead")


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that was reported failed, or put aside as dead; `at` is in seconds since 1970."""

    job_id: str
    job_type: str | None
    attempt: int | None
    status: str
    error_type: str | None
    reason: str | None
    at: float


@dataclass(slots=True)
class Recent:
    """Grows no further than the last failures, and the completions within the window."""

    clock: Callable[[], float] = time.monotonic
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=FAILURES_KEPT))
    _completed_at: deque[float] = field(default_factory=lambda: deque(maxlen=_COMPLETIONS_KEPT))
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    def ended(self, job_id: str, message: Message, *, job_type: str | None, attempt: int | None) -> None:
        if message.status == "completed":
            self._completed_at.append(self.clock())
        elif message.status in _FAILED:
            self.failures.append(
                Failure(
                    job_id, job_type, attempt, message.status, message.error_type, message.reason, round(time.time(), 3)
                )
            )

    def per_minute(self) -> float:
        """Completed jobs in a minute, over the last few of them, or over as long as this was watched."""
        now = self.clock()
        while self._completed_at and self._completed_at[0] < now - RATE_WINDOW:
            self._completed_at.popleft()
        watched = min(RATE_WINDOW, max(60.0, now - self._begun))
        return len(self._completed_at) * 60.0 / watched

    def failures_as_json(self) -> list[dict[str, Any]]:
        """The newest first."""
        return [asdict(failure) for failure in reversed(self.failures)]

"""How long to keep trying: one patience per kind of failure, with growing pauses in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from ourvidz_worker.errors import BackendUnavailable, WorkerError
from ourvidz_worker.instruments.exchanges import retried

Sleep = Callable[[float], Awaitable[None]]
Patience = Mapping[type[WorkerError], float]
"""Seconds to keep trying after a failure of this kind, counted from its first appearance."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_LONGEST_PAUSE_ASKED_FOR = 60.0
_LEAST_ATTEMPTS = 5


def worth_a_retry(status: int) -> bool:
    """Whether an HTTP status speaks of the moment, and not of what was asked for."""
    return status >= 500 or status in (408, 425, 429)


def retrying(operation: str, patience: Patience, *, sleep: Sleep = asyncio.sleep) -> AsyncRetrying:
    """A policy for one call; it raises the last failure as it is when that is used up or not in `patience`.

    `operation` is what its repeats are counted as.
    """
    schedule = _Schedule(patience)
    return AsyncRetrying(
        retry=retry_if_exception_type(tuple(patience)),
        stop=schedule.used_up,
        wait=schedule.pause,
        sleep=sleep,
        before_sleep=lambda _state: retried(operation),
        reraise=True,
    )


class _Schedule:
    """A failure of one kind must not eat the patience for another that comes after it."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._first_seen: dict[type[WorkerError], tuple[float, float]] = {}
        self._backoff = wait_exponential_jitter(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE, jitter=_FIRST_PAUSE)

    def used_up(self, state: RetryCallState) -> bool:
        # The pauses count even where a test's sleep takes no time; each clock is compared with itself alone.
        now = (state.seconds_since_start or 0.0, state.idle_for)
        kind = self._kind(state)
        first = self._first_seen.setdefault(kind, now)
        return max(later - earlier for later, earlier in zip(now, first, strict=True)) >= self._patience[kind]

    def pause(self, state: RetryCallState) -> float:
        patience = self._patience[self._kind(state)]
        failure = _failure(state)
        asked = failure.retry_after if isinstance(failure, BackendUnavailable) else 0.0
        return max(
            min(self._backoff(state), patience / _LEAST_ATTEMPTS), min(asked, _LONGEST_PAUSE_ASKED_FOR, patience)
        )

    def _kind(self, state: RetryCallState) -> type[WorkerError]:
        failure = _failure(state)
        return next(kind for kind in self._patience if isinstance(failure, kind))


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None

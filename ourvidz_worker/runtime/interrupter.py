"""Stopping a generation from outside: between two denoising steps, by an exception no library swallows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ourvidz_worker.errors import DeadlinePassed, Interruption

T = TypeVar("T")
_LONGEST_LOOK_AWAY = 1.0


class Interrupter:
    """Set from the event loop, looked at by the generation thread after every step.

    `guard` is asked at every look, too, and raises when the work must not go on. A generation may begin before its
    start is confirmed, and then waits for that with its first step.
    """

    def __init__(self, deadline_seconds: float, *, guard: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + deadline_seconds
        self._resting_since: float | None = None
        self._guard = guard
        self._interruption: Interruption | None = None
        self._stopped = asyncio.Event()
        self._decided = threading.Event()

    @property
    def decided(self) -> bool:
        """Whether it is known if the work counts: its start was confirmed, or there is a reason to stop."""
        return self._decided.is_set()

    @property
    def stopped(self) -> bool:
        """Whether there is a reason to stop from outside."""
        return self._stopped.is_set()

    def confirm_start(self) -> None:
        """From here on a step goes on to the next one."""
        self._decided.set()

    def stop(self, interruption: Interruption) -> None:
        """Stop at the next step; the first reason given stays. To be called on the event loop."""
        with self._lock:
            self._interruption = self._interruption or interruption
        self._stopped.set()
        self._decided.set()

    def look(self) -> None:
        """Raise the reason to stop, if there is one."""
        with self._lock:
            interruption = self._interruption
        if interruption is not None:
            raise interruption
        self._guard()
        if self._now() > self._deadline:
            raise DeadlinePassed

    def look_after_step(self) -> None:
        """As `look`, and wait until the start is confirmed. For the generation thread."""
        while not self._decided.wait(min(self.seconds_left, _LONGEST_LOOK_AWAY)):
            self.look()
        self.look()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """The deadline waits meanwhile: others have the card."""
        since = self._resting_since = time.monotonic()
        try:
            yield
        finally:
            self._deadline += time.monotonic() - since
            self._resting_since = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled as soon as there is a reason to stop; raises that reason."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            self.look()
            return await task
        finally:
            task.cancel()
            stopped.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - self._now())

    def _now(self) -> float:
        since = self._resting_since
        return time.monotonic() if since is None else since

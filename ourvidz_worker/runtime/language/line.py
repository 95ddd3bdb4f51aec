"""The line before the language model: one at a time, first come first served, and no more than a few may wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ourvidz_worker.errors import AnswerTooLate, TooManyWaiting


class Deadline:
    """A limit in seconds that the steps of one request share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._begun = time.monotonic()

    @property
    def spent(self) -> float:
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        return max(0.0, self.seconds - self.spent)


class Line:
    """`limit` is how many may wait besides the one whose turn it is; None for any number."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._turn = asyncio.Lock()
        self.waiting = 0

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    @asynccontextmanager
    async def turn(self, deadline: Deadline) -> AsyncIterator[None]:
        """The block is one's turn. Raises `TooManyWaiting` at once, or `AnswerTooLate` at the deadline."""
        if self._limit is not None and self.waiting >= self._limit and (self.busy or self.waiting):
            raise TooManyWaiting(
                f"the language model is busy and its line is full ({self.waiting} waiting); try again later"
            )
        self.waiting += 1
        try:
            async with asyncio.timeout(deadline.left):
                await self._turn.acquire()
        except TimeoutError:
            raise AnswerTooLate(f"the language model was busy with others for {deadline.seconds:g} s") from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

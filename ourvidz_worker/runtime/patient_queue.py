"""A queue that repeats what is harmless to repeat, so that one lost answer leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.instruments.exchanges import retried
from ourvidz_worker.ports import Begun, Claim, JobQueue, Reaping, Renewal

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

TRIES = 4
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 4.0


class PatientQueue:
    """A `JobQueue` in front of another one.

    A claim is never repeated: its answer may be lost after it was carried out. A renewal is not either, because
    the lease keeper counts its own time.
    """

    def __init__(self, queue: JobQueue, *, sleep: Sleep = asyncio.sleep) -> None:
        self._queue = queue
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self._queue.name

    async def length(self) -> int:
        return await self._queue.length()

    async def wait(self, pause: float) -> None:
        await self._queue.wait(pause)

    async def claim(self, *, alike: str | None = None) -> Claim | None:
        return await self._queue.claim(alike=alike)

    async def begin(self, claim: Claim, job_id: str) -> Begun | None:
        return await self._insist(lambda: self._queue.begin(claim, job_id))

    async def renew(self, job_ids: Collection[str]) -> Renewal:
        return await self._queue.renew(job_ids)

    async def acknowledge(self, claim: Claim) -> list[Claim]:
        return await self._insist(lambda: self._queue.acknowledge(claim))

    async def requeue(self, claim: Claim, reason: str, *, charged: bool) -> None:
        await self._insist(lambda: self._queue.requeue(claim, reason, charged=charged))

    async def put_back(self, claim: Claim) -> None:
        await self._insist(lambda: self._queue.put_back(claim))

    async def bury(self, claim: Claim, reason: str) -> None:
        await self._insist(lambda: self._queue.bury(claim, reason))

    async def held(self) -> list[Claim]:
        return await self._insist(self._queue.held)

    async def peek(self, count: int) -> list[str]:
        return await self._insist(lambda: self._queue.peek(count))

    async def release(self, owner: str, reason: str) -> int:
        return await self._insist(lambda: self._queue.release(owner, reason))

    async def reap(self) -> Reaping:
        return await self._insist(self._queue.reap)

    async def close(self) -> None:
        await self._queue.close()

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(BackendUnavailable),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential_jitter(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE, jitter=_FIRST_PAUSE),
            sleep=self._sleep,
            before_sleep=lambda _state: retried("redis"),
            reraise=True,
        ):
            with attempt:
                return await call()
        raise AssertionError("the last attempt raises")

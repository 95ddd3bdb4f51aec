"""A `JobQueue` without a server: its jobs are handed over in this process, and whoever hands one over waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.ports import Begun, Claim, Reaping, Renewal

LONGEST_WAIT = 30.0
MAX_DELIVERIES = 4
"""How often a job that was handed back is tried here before whoever handed it over hears of it."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """How an element left: the product `acknowledged` the job, it was `buried`, or `handed back` to be run again."""

    way: Literal["acknowledged", "buried", "handed back"]
    reason: str = ""


@dataclass(eq=False, slots=True)
class Handed:
    """A job on its way. `element` changes once generation begins, and when it is queued again for `reason`."""

    element: str
    left: asyncio.Future[Leaving]
    job_id: str | None = None
    deliveries: int = 1
    reason: str | None = None
    withdrawn: bool = False

    def leave(self, way: Literal["acknowledged", "buried", "handed back"], reason: str = "") -> None:
        if not self.left.done():
            self.left.set_result(Leaving(way, reason))


@dataclass(eq=False, slots=True)
class HandedQueue:
    """Of one owner, in one event loop. Nobody else can take what it holds, so its lease never lapses."""

    name: str
    _waiting: deque[Handed] = field(default_factory=deque)
    _held: list[Handed] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: str | None = None

    def hand(self, element: str) -> Handed:
        """Queue an element; its `left` tells what became of it."""
        handed = Handed(element, asyncio.get_running_loop().create_future())
        if self._ended is not None:
            handed.leave("handed back", self._ended)
            return handed
        self._waiting.append(handed)
        self._arrived.set()
        return handed

    def withdraw(self, handed: Handed) -> None:
        """Nobody wants the job any more: one that waits leaves at once, one that is held before it begins."""
        handed.withdrawn = True
        if handed in self._waiting:
            self._waiting.remove(handed)
            handed.leave("handed back", "the job was cancelled before it began")

    def end(self, reason: str) -> None:
        """Nothing is worked on any more; whatever is here leaves for this reason, after its own."""
        self._ended = reason
        for handed in (*self._held, *self._waiting):
            handed.leave("handed back", f"{handed.reason}; {reason}" if handed.reason else reason)
        self._held.clear()
        self._waiting.clear()

    async def length(self) -> int:
        return len(self._waiting)

    async def wait(self, pause: float) -> None:  # noqa: ARG002 - nobody has to ask
        self._arrived.clear()
        if not self._waiting:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), LONGEST_WAIT)

    async def claim(self, *, alike: str | None = None) -> Claim | None:
        """No two jobs share a batch here: they come one at a time."""
        if alike is not None or not self._waiting:
            return None
        handed = self._waiting.popleft()
        self._held.append(handed)
        return Claim(self.name, handed.element, open_delivery(handed.element), behind=len(self._waiting))

    async def begin(self, claim: Claim, job_id: str) -> Begun | None:
        handed = self._find(claim.element, claim.begun)
        if handed is None:
            return None
        handed.element, handed.job_id = claim.begun, job_id
        return Begun(self._claim_of(handed), handed.withdrawn)

    async def renew(self, job_ids: Collection[str]) -> Renewal:
        withdrawn = {handed.job_id for handed in self._held if handed.withdrawn and handed.job_id}
        return Renewal(alive=True, cancelled=frozenset(withdrawn.intersection(job_ids)))

    async def acknowledge(self, claim: Claim) -> list[Claim]:
        if (handed := self._take_out(claim)) is not None:
            handed.leave("acknowledged")
        return await self.held()

    async def requeue(self, claim: Claim, reason: str, *, charged: bool) -> None:
        if (handed := self._take_out(claim)) is None:
            return
        if handed.deliveries >= MAX_DELIVERIES or self._ended is not None:
            handed.leave("handed back", reason)
            return
        handed.deliveries += 1
        handed.reason = reason
        self._queue_next(handed, claim.delivery.again(reason, charged=charged))

    async def put_back(self, claim: Claim) -> None:
        if (handed := self._take_out(claim)) is not None:
            self._queue_next(handed, claim.delivery.untouched())

    async def bury(self, claim: Claim, reason: str) -> None:
        if (handed := self._take_out(claim)) is not None:
            handed.leave("buried", reason)

    async def held(self) -> list[Claim]:
        return [self._claim_of(handed) for handed in self._held]

    async def peek(self, count: int) -> list[str]:
        return [handed.element for handed in self._waiting][: max(count, 0)]

    async def release(self, owner: str, reason: str) -> int:  # noqa: ARG002 - there is no other owner
        return 0

    async def reap(self) -> Reaping:
        return Reaping(0, holding=bool(self._held))

    async def close(self) -> None:
        self.end("the worker has ended")

    def _queue_next(self, handed: Handed, element: str) -> None:
        handed.element, handed.job_id = element, None
        self._waiting.appendleft(handed)
        self._arrived.set()

    def _take_out(self, claim: Claim) -> Handed | None:
        handed = self._find(claim.element)
        if handed is not None:
            self._held.remove(handed)
        return handed

    def _find(self, *elements: str) -> Handed | None:
        return next((handed for handed in self._held if handed.element in elements), None)

    def _claim_of(self, handed: Handed) -> Claim:
        return Claim(self.name, handed.element, open_delivery(handed.element))

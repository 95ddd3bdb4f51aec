"""Simulated workers in one event loop: the queue's part of a worker's loop, and a pause in place of a card.

Each has an owner, a lease and a connection of its own, and makes the calls that a worker makes, over HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import cache

from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from ourvidz_worker.contract.parse import parse_job
from tests.bench.rest_bridge import TOKEN
from tests.support.embedded import JOB_TYPES

QUEUE = "sdxl_queue"
LONGEST_WAIT = 120.0
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Doings:
    """What the workers did: `claims` is how many seconds each took, and `begun` when a job was begun, by its id."""

    done: int = 0
    claims: list[float] = field(default_factory=list)
    begun: dict[str, float] = field(default_factory=dict)


@cache
def catalogue() -> Catalogue:
    return parse_catalogue(JOB_TYPES.read_text(encoding="utf-8"))


def open_queue(url: str, owner: str) -> RedisQueue:
    return RedisQueue(
        UpstashClient(url=url, token=TOKEN, timeout_seconds=PATIENCE_SECONDS),
        queue=QUEUE,
        owner=owner,
        fast=catalogue().fast_types(QUEUE),
        longest_wait=LONGEST_WAIT,
    )


@contextlib.asynccontextmanager
async def fleet(url: str, *, workers: int, job_seconds: float, poll_seconds: float) -> AsyncIterator[Doings]:
    """Work until the block ends, or until a worker fails; the workers do not all begin at once."""
    members = [Member(open_queue(url, f"pod-{number}"), job_seconds, poll_seconds) for number in range(workers)]
    doings = Doings()
    # What one idle worker does regularly, many do spread over the interval.
    spread = max(job_seconds, poll_seconds) if workers > 1 else 0
    try:
        async with asyncio.TaskGroup() as group:
            for number, member in enumerate(members):
                member.task = group.create_task(member.work(doings, after=spread * number / workers))
            yield doings
            for member in members:
                member.stop()
    finally:
        for member in members:
            await member.queue.close()


class Member:
    def __init__(self, queue: RedisQueue, job_seconds: float, poll_seconds: float) -> None:
        self.queue = queue
        self.task: asyncio.Task[None] | None = None
        self._job_seconds = job_seconds
        self._poll_seconds = poll_seconds
        self._resting = self._stopping = False

    def stop(self) -> None:
        """End at once between two calls; a call is waited for."""
        self._stopping = True
        if self.task and self._resting:
            self.task.cancel()

    async def work(self, doings: Doings, *, after: float) -> None:
        await self._rest(after)
        behind = 0
        while not self._stopping:
            if not behind and not await self.queue.length():
                await self._rest(self._poll_seconds)
                continue
            asked_at = time.perf_counter()
            claim = await self.queue.claim()
            doings.claims.append(time.perf_counter() - asked_at)
            behind = (claim and claim.behind) or 0
            if claim is None:  # another worker was faster
                await self._rest(self._poll_seconds)
                continue
            job = parse_job(claim.delivery, catalogue())
            begun = await self.queue.begin(claim, job.id)
            assert begun is not None, "the lease had lapsed"
            doings.begun[job.id] = time.perf_counter()
            await self._rest(self._job_seconds)
            await self.queue.acknowledge(begun.claim)
            doings.done += 1

    async def _rest(self, seconds: float) -> None:
        if self._stopping:
            return
        self._resting = True
        await asyncio.sleep(seconds)
        self._resting = False

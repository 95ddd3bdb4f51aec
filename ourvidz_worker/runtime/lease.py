"""Keeping the lease alive while jobs are held, and noticing in time that it may be lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from ourvidz_worker.errors import BackendRefused, Fenced, Retry
from ourvidz_worker.ports import JobQueue

RENEW_SECONDS = 30.0
RETRY_SECONDS = 5.0
FENCE_SECONDS = 60.0


class LeaseKeeper:
    """Renews every 30 s while something is held.

    The lease lives 90 s in Redis and this fences itself after 60 s without a confirmed renewal, so a worker
    that is cut off has stopped before anyone else may take its jobs.
    """

    def __init__(self, queue: JobQueue, *, holding: Callable[[], bool]) -> None:
        self._queue = queue
        self._holding = holding
        self._confirmed_at = time.monotonic()

    def confirm(self, sent_at: float) -> None:
        """A claim confirmed the lease too; what counts is when the command was sent."""
        self._confirmed_at = max(self._confirmed_at, sent_at)

    async def keep(self) -> None:
        """Run until cancelled; raises `Fenced` when the lease is lost or not confirmed in time."""
        pause = RENEW_SECONDS
        while True:
            await asyncio.sleep(pause)
            if not self._holding():
                pause = RENEW_SECONDS
                continue
            pause = RENEW_SECONDS if await self._renew() else RETRY_SECONDS
            if time.monotonic() - self._confirmed_at > FENCE_SECONDS and self._holding():
                raise Fenced("the lease was not confirmed for 60 s")

    async def _renew(self) -> bool:
        sent_at = time.monotonic()
        try:
            if not await self._queue.renew():
                raise Fenced("the lease had lapsed, so others may have taken the jobs")
        except (Retry, BackendRefused) as error:
            structlog.get_logger().warning("lease_renewal_failed", problem=str(error))
            return False
        self.confirm(sent_at)
        return True

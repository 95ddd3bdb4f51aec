"""Keeping the lease alive while jobs are held, and noticing in time that it may be lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from ourvidz_worker.errors import BackendRefused, Fenced, Retry
from ourvidz_worker.instruments import exchanges, metrics
from ourvidz_worker.ports import JobQueue, Renewal
from ourvidz_worker.runtime.holdings import Holdings


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds; the lease lives `lease` in Redis, and everything else follows from it."""

    lease: float = 90.0

    @property
    def renew(self) -> float:
        return self.lease / 3

    @property
    def retry(self) -> float:
        return self.lease / 18

    @property
    def fence(self) -> float:
        return self.lease * 2 / 3


class LeaseKeeper:
    """Renews while something is held, and fences this worker long before the lease lapses in Redis.

    So a worker that is cut off or was paused has stopped before anyone else may take its jobs.
    """

    def __init__(
        self, queue: JobQueue, holdings: Holdings, times: LeaseTimes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._holdings = holdings
        self._times = times
        self._clock = clock
        self._confirmed_at = self._tried_at = clock()
        self.on_cancelled: Callable[[Collection[str]], None] = lambda _job_ids: None

    def now(self) -> float:
        """Seconds of the clock that `confirm` is told of."""
        return self._clock()

    def confirm(self, sent_at: float) -> None:
        """A claim and the start of a generation confirm the lease too; what counts is when the command was sent."""
        self._confirmed_at = max(self._confirmed_at, sent_at)

    def check(self) -> None:
        """Raise `Fenced` where the lease was not confirmed in time. Callable from any thread.

        Asked before whatever must not happen without the lease: after a pause of the process the keeper's own
        timer may come second.
        """
        if self._holdings and self.now() >= self._fenced_at:
            raise Fenced(f"the lease was not confirmed for {self._times.fence:g} s")

    async def sleep(self, seconds: float) -> None:
        """The pause before a repeat: after a pause of the whole process there is none, and this raises `Fenced`."""
        await asyncio.sleep(seconds)
        self.check()

    async def keep(self) -> None:
        """Run until cancelled; raises `Fenced` when the lease is lost or not confirmed in time."""
        while True:
            if not self._holdings:
                await asyncio.sleep(self._times.renew)
            elif (pause := self._pause()) > 0:
                await asyncio.sleep(pause)
                self.check()
            else:
                await self._renew()
                self.check()

    @property
    def _fenced_at(self) -> float:
        return self._confirmed_at + self._times.fence

    def _pause(self) -> float:
        """Seconds until the next renewal is due, or the fence."""
        due = max(self._confirmed_at + self._times.renew, self._tried_at + self._times.retry)
        return min(due, self._fenced_at) - self.now()

    async def _renew(self) -> None:
        sent_at = self._tried_at = self.now()
        try:
            async with asyncio.timeout(max(self._fenced_at - sent_at, 0)):
                renewal = await self._queue.renew(self._holdings.job_ids)
        except (Retry, BackendRefused, TimeoutError) as error:
            metrics.series(metrics.LEASE_RENEWALS, exchanges.outcome_of(error)).inc()
            structlog.get_logger().warning("lease_renewal_failed", problem=str(error) or type(error).__name__)
            return
        self._heed(renewal, sent_at)

    def _heed(self, renewal: Renewal, sent_at: float) -> None:
        metrics.series(metrics.LEASE_RENEWALS, exchanges.OK if renewal.alive else "lapsed").inc()
        if not renewal.alive:
            raise Fenced("the lease had lapsed, so others may have taken the jobs")
        self.confirm(sent_at)
        if renewal.cancelled:
            self.on_cancelled(renewal.cancelled)

"""Handing back what other workers left behind when they died."""

from __future__ import annotations

import asyncio

import structlog

from ourvidz_worker.errors import BackendRefused, Retry
from ourvidz_worker.ports import JobQueue
from ourvidz_worker.runtime.holdings import Holdings
from ourvidz_worker.runtime.spool import Spool

_LAPSE_MARGIN = 5.0
KEPT_SECONDS = 3 * 24 * 3600.0


class Reaper:
    """Reaps at boot, again once the leases of whoever died with the last pod have lapsed, and from time to time.

    Results on the disk that nobody came back for were made again by another pod, or given up.
    """

    def __init__(
        self, queue: JobQueue, holdings: Holdings, spool: Spool, *, lease_seconds: float, interval: float
    ) -> None:
        self._queue = queue
        self._holdings = holdings
        self._spool = spool
        self._lapsed_after = lease_seconds + _LAPSE_MARGIN
        self._interval = interval

    async def reap_regularly(self) -> None:
        """Run until cancelled."""
        await self._reap()
        await asyncio.sleep(self._lapsed_after)
        while True:
            if await self._reap():
                # A claim that Redis executed long after it was given up shows only now.
                self._holdings.answer_lost = True
            await asyncio.sleep(self._interval)

    async def _reap(self) -> bool:
        """Whether this worker may hold something itself: the look at all held lists shows its own, too."""
        may_hold = await self._reap_jobs()
        await self._sweep()
        return may_hold

    async def _sweep(self) -> None:
        try:
            swept = await asyncio.to_thread(self._spool.sweep, KEPT_SECONDS)
        except OSError as error:
            structlog.get_logger().warning("sweeping_failed", problem=str(error))
            return
        if swept:
            structlog.get_logger().warning("abandoned_results_removed", jobs=swept)

    async def _reap_jobs(self) -> bool:
        try:
            reaping = await self._queue.reap()
        except (Retry, BackendRefused) as error:
            structlog.get_logger().warning("reaping_failed", problem=str(error))
            return True
        if reaping.jobs:
            structlog.get_logger().warning("abandoned_jobs_requeued", jobs=reaping.jobs)
        return reaping.holding

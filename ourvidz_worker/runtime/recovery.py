"""Finding what was left behind: by workers that died, and by answers that were lost on their way to us."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from ourvidz_worker.errors import BackendRefused, Retry
from ourvidz_worker.ports import Claim, JobQueue

REAP_SECONDS = (0.0, 95.0)  # at boot, and once the leases of whoever died with the last pod have lapsed
REAP_INTERVAL = 300.0


class Recovery:
    """Hands back abandoned jobs; `held` is what this worker knows to hold."""

    def __init__(self, queue: JobQueue, held: Sequence[Claim]) -> None:
        self._queue = queue
        self._held = held
        self.answer_lost = False

    async def return_lost_claims(self) -> None:
        """Queue again what lies in the own held list without our knowledge.

        Taking it on as it lies there would race with a reaper if the lease lapsed meanwhile; the move does not.
        """
        self.answer_lost = False  # at once, because an ending may lose another answer during the look-up
        known = [claim.element for claim in self._held]
        try:
            for claim in await self._queue.held():
                if claim.element not in known:
                    await self._queue.requeue(claim, "the answer to its claim was lost", charged=False)
                    structlog.get_logger().info("lost_claim_returned")
        except Retry:
            self.answer_lost = True
            raise

    async def reap_regularly(self) -> None:
        """Hand back what others left behind, at boot and from time to time, until cancelled."""
        waited = 0.0
        for moment in REAP_SECONDS:
            await asyncio.sleep(moment - waited)
            waited = moment
            await self._reap()
        while True:
            await asyncio.sleep(REAP_INTERVAL)
            await self._reap()
            # A claim that Redis executed after the look-up shows only now.
            self.answer_lost = True

    async def _reap(self) -> None:
        try:
            jobs = await self._queue.reap()
        except (Retry, BackendRefused) as error:
            structlog.get_logger().warning("reaping_failed", problem=str(error))
            return
        if jobs:
            structlog.get_logger().warning("abandoned_jobs_requeued", jobs=jobs)

"""How a job leaves the queue: delivered, failed, handed back or put aside, and never lost on the way."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.control import Announcer, Message
from ourvidz_worker.errors import (
    BackendRefused,
    BadJob,
    ContentRefused,
    GenerationFailed,
    JobCancelled,
    Restart,
    Retry,
    RowMissing,
    RowNotLinked,
    WorkerError,
)
from ourvidz_worker.instruments import jobs, metrics
from ourvidz_worker.instruments.stages import stage
from ourvidz_worker.runtime.courier import OVER, PATIENT_TRIES, Courier, failure
from ourvidz_worker.runtime.holdings import Holding, Holdings
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Result, Spool
from ourvidz_worker.runtime.studio import Drawn, Studio

INTERNAL = "the generation failed with an internal error; try again, and tell the operator if it fails again"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
NO_ROOM_PAUSE = 5.0
UNLINKED_DELIVERIES = 3


Ending = Callable[[], Awaitable[None]]
"""The rest of a job's way once the GPU is free again: encode, deliver, report, acknowledge."""


class Endings:
    """The product hears of every job before it leaves Redis; what the product cannot be told of is put aside."""

    def __init__(self, *, holdings: Holdings, studio: Studio, courier: Courier, spool: Spool) -> None:
        self._holdings = holdings
        self._studio = studio
        self._courier = courier
        self._spool = spool

    async def complete(
        self, holding: Holding, job: Job, drawn: Drawn, progress: Progress, *, announced: asyncio.Task[None] | None
    ) -> None:
        """Encode and spool at once, whatever the report of the start is waiting for."""
        progress.phase("encoding")
        ending: Ending
        try:
            ending = partial(self.deliver, holding, job, await self._result_of(drawn), progress)
        except Restart as error:
            ending = partial(self._stop, holding, job, error, progress)
        except WorkerError as error:
            ending = partial(self.fail, holding, job, error, progress)
        except Exception:  # noqa: BLE001 - whatever an encoder raises, the user hears of it and the worker goes on
            structlog.get_logger().exception("encoding_failed")
            ending = partial(self.fail, holding, job, GenerationFailed(INTERNAL), progress)
        await after(announced, ending)

    async def deliver(self, holding: Holding, job: Job, result: Result, progress: Progress) -> None:
        progress.phase("uploading")
        try:
            await self._courier.deliver(result, doubtful=holding.claim.delivery.redelivered)
        except RowMissing as error:
            self._park(job.id, error)
            await self._put_aside(holding, error, progress)
        except RowNotLinked as error:
            if len(holding.claim.delivery.history) >= UNLINKED_DELIVERIES:
                await self.give_up(holding, job, error, progress)
            else:
                await self.hand_back(holding, str(error), progress)
        except Retry as error:
            await self.hand_back(holding, str(error), progress)
        except Restart as error:
            await self.put_back(holding, str(error), progress)
            raise
        except WorkerError as error:
            self._park(job.id, error)
            await self._fail(holding, job, error, progress)
        else:
            await self._holdings.acknowledge(holding)
            self._spool.discard(job.id)
            structlog.get_logger().info("job_completed", seconds=round(progress.seconds, 3))
            progress.done("completed")

    async def fail(self, holding: Holding, job: Job, error: WorkerError, progress: Progress) -> None:
        """For a job without a result."""
        self._spool.discard(job.id)  # half of one may lie there
        await self._fail(holding, job, error, progress)

    async def cancel(self, holding: Holding, job: Job, progress: Progress, *, tell: bool) -> None:
        if await self._over_already(holding, job, progress):
            return
        structlog.get_logger().info("job_cancelled")
        error = JobCancelled("the job was cancelled")
        if not tell or await self._report_failure(holding, job.id, error, progress, job):
            await self._holdings.acknowledge(holding)
            progress.done("cancelled")

    async def already_over(self, holding: Holding, status: str, progress: Progress) -> None:
        """An earlier delivery came to its end, and only the acknowledgement is missing."""
        structlog.get_logger().info("job_already_over", status=status)
        await self._holdings.acknowledge(holding)
        if status != "failed" and holding.job_id is not None:
            self._spool.discard(holding.job_id)
        progress.done(status)

    async def give_up(self, holding: Holding, job: Job, error: WorkerError, progress: Progress) -> None:
        if await self._over_already(holding, job, progress):
            return
        if self._spool.find(job.id) is not None:
            self._park(job.id, error)
        if await self._report_failure(holding, job.id, error, progress, job):
            await self.bury(holding, str(error))
            progress.done("failed", str(error), error.error_type)

    async def refuse(self, holding: Holding, error: PayloadError, announcer: Announcer) -> None:
        """For a job whose payload is wrong, and which never began."""
        assert error.job_id is not None
        if await self._report_failure(holding, error.job_id, BadJob(str(error), field=error.field), None, None):
            await self._holdings.acknowledge(holding)
            jobs.refused(BadJob.error_type)
            kind = BadJob.error_type
            announcer.announce(
                Message("done", job_id=error.job_id, status="failed", reason=str(error), error_type=kind)
            )

    async def bury(self, holding: Holding, reason: str) -> None:
        """Keep it for an operator, without telling the product: an element may name no job at all."""
        structlog.get_logger().error("job_dead", queue=holding.claim.queue, reason=reason)
        await self._holdings.bury(holding, reason)
        metrics.series(metrics.DEAD_LETTERS, holding.claim.queue).inc()

    async def put_back(self, holding: Holding, reason: str, progress: Progress | None) -> None:
        """The product heard no end of it, and it is not the job's fault: queue it as it was."""
        structlog.get_logger().warning("job_handed_back", reason=reason, charged=False)
        await self._holdings.put_back(holding)
        if progress is not None:
            progress.done("requeued", reason)

    async def hand_back(
        self, holding: Holding, reason: str, progress: Progress | None, *, charged: bool = False
    ) -> None:
        """The product may have heard of it, and the next delivery is to know that."""
        structlog.get_logger().warning("job_handed_back", reason=reason, charged=charged)
        await self._holdings.requeue(holding, reason, charged=charged)
        if progress is not None:
            progress.done("requeued", reason)

    async def _stop(self, holding: Holding, job: Job, error: Restart, progress: Progress) -> None:
        """This process can finish no result, and another one may."""
        self._spool.discard(job.id)
        await self.put_back(holding, str(error), progress)
        raise error

    async def _over_already(self, holding: Holding, job: Job, progress: Progress) -> bool:
        """A redelivery that would end without a generation must not report `failed` over a `completed`.

        Its row is looked at with patience, and the job acknowledged where it is over.
        """
        if not holding.claim.delivery.redelivered:
            return False
        status = await self._courier.status(job.id, tries=PATIENT_TRIES)
        if status not in OVER:
            return False
        await self.already_over(holding, status, progress)
        return True

    async def _result_of(self, drawn: Drawn) -> Result:
        try:
            with stage("encode"):
                await self._studio.inspect(drawn)
                return await self._finish(drawn)
        except Exception:
            drawn.discard()
            raise

    async def _finish(self, drawn: Drawn) -> Result:
        """What was generated waits in memory until the disk has room for it."""
        while True:
            try:
                limit = await self._courier.limit(drawn.request.job.bucket)
                return await self._studio.finish(drawn, limit)
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                problem = f"the result cannot be saved ({error.strerror}): free some space on the spool's disk"
                structlog.get_logger().error("spool_full", problem=problem, pause_seconds=NO_ROOM_PAUSE)
            await asyncio.sleep(NO_ROOM_PAUSE)

    async def _fail(self, holding: Holding, job: Job, error: WorkerError, progress: Progress) -> None:
        if await self._report_failure(holding, job.id, error, progress, job):
            await self._holdings.acknowledge(holding)
            progress.done("failed", str(error), error.error_type)

    async def _report_failure(
        self, holding: Holding, job_id: str, error: WorkerError, progress: Progress | None, job: Job | None
    ) -> bool:
        """Tell the product; when it cannot be told, see that the job is not lost and return False."""
        # The sentence of a refused prompt says nothing of the prompt, so it may be logged like any other.
        kind = "job_refused" if isinstance(error, BadJob | ContentRefused) else "job_failed"
        structlog.get_logger().warning(
            kind, job_id=job_id, error_type=error.error_type, problem=str(error), exc_info=error.__cause__
        )
        callback = failure(job_id, error, attempt=holding.claim.delivery.attempt, job=job)
        try:
            await self._courier.report(callback, doubtful=holding.claim.delivery.redelivered)
        except (RowMissing, BackendRefused) as refusal:
            self._park_report(callback, refusal)
            await self._put_aside(holding, refusal, progress, because=str(error))
            return False
        except Retry as trouble:
            await self.hand_back(holding, str(trouble), progress)
            return False
        except Restart as trouble:
            await self.put_back(holding, str(trouble), progress)
            raise
        return True

    def _park(self, job_id: str, error: WorkerError) -> None:
        """The far side refuses a finished result: keep it where an operator can send it again."""
        log = structlog.get_logger()
        try:
            self._spool.park(job_id, str(error))
        except OSError as trouble:  # the job has to end all the same
            log.exception("result_not_parked", problem=str(trouble), reason=str(error))
        else:
            metrics.series(metrics.PARKED, "result").inc()
            log.error("job_parked", problem=str(error))

    def _park_report(self, callback: Callback, refusal: WorkerError) -> None:
        try:
            self._spool.park_callback(callback, str(refusal))
        except OSError as trouble:
            structlog.get_logger().error("report_not_parked", problem=str(trouble), reason=str(refusal))
        else:
            metrics.series(metrics.PARKED, "report").inc()

    async def _put_aside(
        self,
        holding: Holding,
        refusal: WorkerError,
        progress: Progress | None,
        *,
        because: str | None = None,
    ) -> None:
        """The product does not want to hear of this job; keep it for an operator."""
        reason = f"{refusal} ({because})" if because else str(refusal)
        await self.bury(holding, reason)
        if progress is not None:
            progress.done("dead", reason, refusal.error_type)


async def after(first: asyncio.Task[None] | None, ending: Ending) -> None:
    """`processing` sets a job back even after a final status (contract section 5), so it comes to its end first.

    When the wait is cut short there is no ending: the next delivery of the job sees to it.
    """
    if first is not None:
        await asyncio.wait({first})
    try:
        await ending()
    finally:
        if first is not None:
            first.result()

"""How a job leaves the queue: delivered, failed, handed back or put aside, and never lost on the way."""

from __future__ import annotations

import structlog

from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.errors import (
    BackendRefused,
    BadJob,
    ContentRefused,
    GenerationFailed,
    Restart,
    Retry,
    RowMissing,
    RowNotLinked,
    WorkerError,
)
from ourvidz_worker.ports import Claim, JobQueue
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Result, Spool
from ourvidz_worker.runtime.studio import Drawn, Studio

INTERNAL = "the generation failed with an internal error; try again, and tell the operator if it fails again"


class Endings:
    """The product hears of every job before it leaves Redis; what the product cannot be told of stays there."""

    def __init__(self, *, queue: JobQueue, studio: Studio, courier: Courier, spool: Spool) -> None:
        self._queue = queue
        self._studio = studio
        self._courier = courier
        self._spool = spool

    async def complete(self, claim: Claim, job: Job, drawn: Drawn, progress: Progress) -> None:
        progress.phase("encoding")
        try:
            result = await self._studio.finish(drawn)
        except WorkerError as error:
            await self.fail(claim, job, error, progress)
            return
        except Exception:  # noqa: BLE001 - whatever an encoder raises, the user hears of it and the worker goes on
            structlog.get_logger().exception("encoding_failed")
            await self.fail(claim, job, GenerationFailed(INTERNAL), progress)
            return
        await self.deliver(claim, job, result, progress)

    async def deliver(self, claim: Claim, job: Job, result: Result, progress: Progress) -> None:
        progress.phase("uploading")
        try:
            await self._courier.deliver(result)
        except RowMissing as error:
            await self._put_aside(claim, job.id, error, progress)
        except RowNotLinked as error:
            await self.hand_back(claim, str(error), progress, charged=True)
        except Retry as error:
            await self.hand_back(claim, str(error), progress)
        except Restart as error:
            await self.hand_back(claim, str(error), progress)
            raise
        except WorkerError as error:
            await self.fail(claim, job, error, progress)
        else:
            await self._queue.acknowledge(claim)
            self._spool.discard(job.id)
            structlog.get_logger().info("job_completed", seconds=round(progress.seconds, 3))
            progress.done("completed")

    async def fail(self, claim: Claim, job: Job, error: WorkerError, progress: Progress) -> None:
        if await self._report_failure(claim, job.id, error, progress, job):
            await self._queue.acknowledge(claim)
            self._spool.discard(job.id)
            progress.done("failed", str(error))

    async def give_up(self, claim: Claim, job: Job, error: WorkerError, progress: Progress) -> None:
        if await self._report_failure(claim, job.id, error, progress, job):
            await self._queue.bury(claim, str(error))
            progress.done("failed", str(error))

    async def refuse(self, claim: Claim, error: PayloadError) -> None:
        assert error.job_id is not None
        if await self._report_failure(claim, error.job_id, BadJob(str(error), field=error.field), None, None):
            await self._queue.acknowledge(claim)

    async def _report_failure(
        self, claim: Claim, job_id: str, error: WorkerError, progress: Progress | None, job: Job | None
    ) -> bool:
        """Tell the product; when it cannot be told, see that the job is not lost and return False."""
        # The sentence of a refused prompt says nothing of the prompt, so it may be logged like any other.
        kind = "job_refused" if isinstance(error, BadJob | ContentRefused) else "job_failed"
        structlog.get_logger().warning(
            kind, job_id=job_id, error_type=error.error_type, problem=str(error), exc_info=error.__cause__
        )
        try:
            await self._courier.report_failure(job_id, error, attempt=claim.delivery.attempt, job=job)
        except (RowMissing, BackendRefused) as refusal:
            await self._put_aside(claim, job_id, refusal, progress, because=str(error))
            return False
        except Retry as trouble:
            await self.hand_back(claim, str(trouble), progress)
            return False
        except Restart as trouble:
            await self.hand_back(claim, str(trouble), progress)
            raise
        return True

    async def _put_aside(
        self,
        claim: Claim,
        job_id: str,
        refusal: WorkerError,
        progress: Progress | None,
        *,
        because: str | None = None,
    ) -> None:
        """The product does not want to hear of this job; keep it for an operator."""
        reason = f"{refusal} ({because})" if because else str(refusal)
        await self.bury(claim, reason)
        self._spool.discard(job_id)
        if progress is not None:
            progress.done("dead", reason)

    async def bury(self, claim: Claim, reason: str) -> None:
        structlog.get_logger().error("job_dead", queue=claim.queue, reason=reason)
        await self._queue.bury(claim, reason)

    async def hand_back(self, claim: Claim, reason: str, progress: Progress | None, *, charged: bool = False) -> None:
        structlog.get_logger().warning("job_handed_back", reason=reason, charged=charged)
        await self._queue.requeue(claim, reason, charged=charged)
        if progress is not None:
            progress.done("requeued", reason)

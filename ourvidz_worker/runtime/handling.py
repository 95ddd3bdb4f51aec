"""The way of one job: from the claimed element to the ending that takes it off the queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.contract.payload_error import MalformedElement, PayloadError
from ourvidz_worker.control import Announcer
from ourvidz_worker.errors import (
    BackendRefused,
    BadJob,
    ContentRefused,
    DeadlineExceeded,
    DeadlinePassed,
    Drained,
    GenerationFailed,
    Interruption,
    PoisonedContext,
    Restart,
    Retry,
    RowMissing,
    RowNotLinked,
    WorkerError,
)
from ourvidz_worker.ports import Claim, JobQueue
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Result, Spool
from ourvidz_worker.runtime.studio import Drawn, Studio

MAX_ATTEMPTS = 3
INTERNAL = "the generation failed with an internal error; try again, and tell the operator if it fails again"

Ending = Callable[[], Awaitable[None]]
"""The rest of a job's way once the GPU is free again: encode, deliver, report, acknowledge."""


class Handler:
    """Works on one claim at a time; its endings may overlap the next claim."""

    def __init__(
        self,
        *,
        queue: JobQueue,
        catalogue: Catalogue,
        studio: Studio,
        courier: Courier,
        spool: Spool,
        announcer: Announcer,
        job_deadline: float,
    ) -> None:
        self._queue = queue
        self._catalogue = catalogue
        self._studio = studio
        self._courier = courier
        self._spool = spool
        self._announcer = announcer
        self._job_deadline = job_deadline
        self._interrupter: Interrupter | None = None

    def interrupt(self, interruption: Interruption) -> None:
        """Stop the generation in progress, if there is one, at its next step."""
        if self._interrupter is not None:
            self._interrupter.stop(interruption)

    async def work_on(self, claim: Claim) -> Ending:
        """Take a job as far as the GPU is needed and return its ending.

        Raises `Restart` after handing the job back when the process cannot go on, and `Fenced`.
        """
        try:
            job = parse_job(claim.delivery, self._catalogue)
        except MalformedElement as error:
            return partial(self._bury, claim, str(error))
        except PayloadError as error:
            return partial(self._refuse, claim, error)
        structlog.contextvars.bind_contextvars(job_id=job.id, attempt=job.attempt)
        log = structlog.get_logger()
        log.info("job_claimed", job_type=job.type.name, num_images=job.num_images)
        progress = Progress(job, self._announcer)
        progress.started()
        finished = self._spool.find(job.id)
        # What is finished already gets one delivery more than anything gets generations.
        if finished is not None and job.attempt <= MAX_ATTEMPTS + 1:
            log.info("job_resumed_from_spool")
            return partial(self._deliver, claim, job, finished, progress)
        if job.attempt > MAX_ATTEMPTS:
            last = claim.delivery.history[-1] if claim.delivery.history else "unknown reason"
            reason = f"the job was given up after {MAX_ATTEMPTS} attempts, the last one because: {last}"
            return partial(self._give_up, claim, job, GenerationFailed(reason), progress)
        return await self._draw(claim, job, progress)

    async def _draw(self, claim: Claim, job: Job, progress: Progress) -> Ending:
        try:
            self._check(job)
        except WorkerError as error:
            return partial(self._fail, claim, job, error, progress)
        log = structlog.get_logger()
        processing = asyncio.create_task(self._announce_processing(job))
        self._interrupter = Interrupter(self._job_deadline)
        ending: Ending
        try:
            drawn = await self._studio.draw(job, self._interrupter, progress)
            ending = partial(self._complete, claim, job, drawn, progress)
        except DeadlinePassed:
            limit = f"{self._job_deadline:g} s"
            late = DeadlineExceeded(f"the job took longer than {limit}; try fewer steps or frames")
            ending = partial(self._fail, claim, job, late, progress)
        except Drained as drained:
            ending = partial(self._hand_back, claim, str(drained), progress)
        except Restart as error:
            await asyncio.wait({processing})
            # When this fails, the job is handed back once the process is gone.
            with contextlib.suppress(Retry, BackendRefused):
                await self._queue.requeue(claim, str(error), charged=isinstance(error, PoisonedContext))
            raise
        except WorkerError as error:
            ending = partial(self._fail, claim, job, error, progress)
        except Exception:
            log.exception("generation_failed")
            ending = partial(self._fail, claim, job, GenerationFailed(INTERNAL), progress)
        finally:
            self._interrupter = None
        return partial(_after, processing, ending)

    def _check(self, job: Job) -> None:
        if job.type.queue != self._queue.name:
            raise BadJob(f"{job.type.name} jobs belong on {job.type.queue}, this one came on {self._queue.name}")
        self._studio.check(job)

    async def _announce_processing(self, job: Job) -> None:
        """A courtesy to the user: when it fails, the job goes on, unless no report will ever pass."""
        try:
            await self._courier.announce_processing(job)
        except Restart as error:
            self.interrupt(Drained(str(error)))  # the result could not be reported either
            raise
        except WorkerError as error:
            structlog.get_logger().warning("processing_not_reported", problem=str(error))
        except Exception:  # noqa: BLE001 - not even a bug in a courtesy may cost the user what is generated meanwhile
            structlog.get_logger().exception("processing_not_reported")

    async def _complete(self, claim: Claim, job: Job, drawn: Drawn, progress: Progress) -> None:
        progress.phase("encoding")
        try:
            result = await self._studio.finish(drawn)
        except WorkerError as error:
            await self._fail(claim, job, error, progress)
            return
        except Exception:  # noqa: BLE001 - whatever an encoder raises, the user hears of it and the worker goes on
            structlog.get_logger().exception("encoding_failed")
            await self._fail(claim, job, GenerationFailed(INTERNAL), progress)
            return
        await self._deliver(claim, job, result, progress)

    async def _deliver(self, claim: Claim, job: Job, result: Result, progress: Progress) -> None:
        progress.phase("uploading")
        try:
            await self._courier.deliver(result)
        except RowMissing as error:
            await self._put_aside(claim, job.id, error, progress)
        except RowNotLinked as error:
            await self._hand_back(claim, str(error), progress, charged=True)
        except Retry as error:
            await self._hand_back(claim, str(error), progress)
        except Restart as error:
            await self._hand_back(claim, str(error), progress)
            raise
        except WorkerError as error:
            await self._fail(claim, job, error, progress)
        else:
            await self._queue.acknowledge(claim)
            self._spool.discard(job.id)
            structlog.get_logger().info("job_completed", seconds=round(progress.seconds, 3))
            progress.done("completed")

    async def _fail(self, claim: Claim, job: Job, error: WorkerError, progress: Progress) -> None:
        if await self._report_failure(claim, job.id, error, progress, job):
            await self._queue.acknowledge(claim)
            self._spool.discard(job.id)
            progress.done("failed", str(error))

    async def _give_up(self, claim: Claim, job: Job, error: WorkerError, progress: Progress) -> None:
        if await self._report_failure(claim, job.id, error, progress, job):
            await self._queue.bury(claim, str(error))
            progress.done("failed", str(error))

    async def _refuse(self, claim: Claim, error: PayloadError) -> None:
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
            await self._hand_back(claim, str(trouble), progress)
            return False
        except Restart as trouble:
            await self._hand_back(claim, str(trouble), progress)
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
        await self._bury(claim, reason)
        self._spool.discard(job_id)
        if progress is not None:
            progress.done("dead", reason)

    async def _bury(self, claim: Claim, reason: str) -> None:
        structlog.get_logger().error("job_dead", queue=claim.queue, reason=reason)
        await self._queue.bury(claim, reason)

    async def _hand_back(self, claim: Claim, reason: str, progress: Progress | None, *, charged: bool = False) -> None:
        structlog.get_logger().warning("job_handed_back", reason=reason, charged=charged)
        await self._queue.requeue(claim, reason, charged=charged)
        if progress is not None:
            progress.done("requeued", reason)


async def _after(first: asyncio.Task[None], ending: Ending) -> None:
    """`processing` sets a job back even after a final status (contract section 5), so it comes to its end first."""
    try:
        await first
    finally:
        await ending()

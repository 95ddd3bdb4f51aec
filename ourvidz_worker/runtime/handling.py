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
    DeadlineExceeded,
    DeadlinePassed,
    Drained,
    GenerationFailed,
    Interruption,
    PoisonedContext,
    Restart,
    Retry,
    WorkerError,
)
from ourvidz_worker.ports import Claim, JobQueue
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.endings import INTERNAL, Endings
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Spool
from ourvidz_worker.runtime.studio import Studio

MAX_ATTEMPTS = 3

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
        self._queue_name = queue.name
        self._catalogue = catalogue
        self._studio = studio
        self._courier = courier
        self._spool = spool
        self._endings = Endings(queue=queue, studio=studio, courier=courier, spool=spool)
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
            return partial(self._endings.bury, claim, str(error))
        except PayloadError as error:
            return partial(self._endings.refuse, claim, error)
        structlog.contextvars.bind_contextvars(job_id=job.id, attempt=job.attempt)
        log = structlog.get_logger()
        log.info("job_claimed", job_type=job.type.name, num_images=job.num_images)
        progress = Progress(job, self._announcer)
        progress.started()
        finished = self._spool.find(job.id)
        # What is finished already gets one delivery more than anything gets generations.
        if finished is not None and job.attempt <= MAX_ATTEMPTS + 1:
            log.info("job_resumed_from_spool")
            return partial(self._endings.deliver, claim, job, finished, progress)
        if job.attempt > MAX_ATTEMPTS:
            last = claim.delivery.history[-1] if claim.delivery.history else "unknown reason"
            reason = f"the job was given up after {MAX_ATTEMPTS} attempts, the last one because: {last}"
            return partial(self._endings.give_up, claim, job, GenerationFailed(reason), progress)
        return await self._draw(claim, job, progress)

    async def _draw(self, claim: Claim, job: Job, progress: Progress) -> Ending:
        try:
            self._check(job)
        except WorkerError as error:
            return partial(self._endings.fail, claim, job, error, progress)
        log = structlog.get_logger()
        processing = asyncio.create_task(self._announce_processing(job))
        self._interrupter = Interrupter(self._job_deadline)
        ending: Ending
        try:
            drawn = await self._studio.draw(job, self._interrupter, progress)
            ending = partial(self._endings.complete, claim, job, drawn, progress)
        except DeadlinePassed:
            limit = f"{self._job_deadline:g} s"
            late = DeadlineExceeded(f"the job took longer than {limit}; try fewer steps or frames")
            ending = partial(self._endings.fail, claim, job, late, progress)
        except Drained as drained:
            ending = partial(self._endings.hand_back, claim, str(drained), progress)
        except Restart as error:
            await asyncio.wait({processing})
            # When this fails, the job is handed back once the process is gone.
            with contextlib.suppress(Retry, BackendRefused):
                charged = isinstance(error, PoisonedContext)
                await self._endings.hand_back(claim, str(error), progress, charged=charged)
            raise
        except WorkerError as error:
            ending = partial(self._endings.fail, claim, job, error, progress)
        except Exception:
            log.exception("generation_failed")
            ending = partial(self._endings.fail, claim, job, GenerationFailed(INTERNAL), progress)
        finally:
            self._interrupter = None
        return partial(_after, processing, ending)

    def _check(self, job: Job) -> None:
        if job.type.queue != self._queue_name:
            raise BadJob(f"{job.type.name} jobs belong on {job.type.queue}, this one came on {self._queue_name}")
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


async def _after(first: asyncio.Task[None], ending: Ending) -> None:
    """`processing` sets a job back even after a final status (contract section 5), so it comes to its end first."""
    try:
        await first
    finally:
        await ending()

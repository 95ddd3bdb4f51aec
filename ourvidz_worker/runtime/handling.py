"""The way of one job: from the claimed element to the ending that takes it off the queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass
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
    Cancelled,
    ConfigurationError,
    DeadlineExceeded,
    DeadlinePassed,
    Drained,
    Fenced,
    GenerationFailed,
    Interruption,
    PoisonedContext,
    Restart,
    Retry,
    WorkerError,
)
from ourvidz_worker.ports import JobQueue
from ourvidz_worker.runtime.courier import OVER, PATIENT_TRIES, Courier
from ourvidz_worker.runtime.endings import INTERNAL, Ending, Endings, after
from ourvidz_worker.runtime.holdings import Holding, Holdings
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.lease import LeaseKeeper
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Result, Spool
from ourvidz_worker.runtime.studio import Studio

MAX_ATTEMPTS = 3
MAX_DELIVERIES = MAX_ATTEMPTS + 2  # what is finished already may cost the process more often than what is not
ROW_LOOK_SECONDS = 30.0


@dataclass(slots=True)
class _Drawing:
    """The job that is being generated, what stops it, and the report that it was begun."""

    job: Job
    interrupter: Interrupter
    processing: asyncio.Task[None] | None = None


class Handler:
    """Works on one holding at a time; its endings may overlap the next one.

    `rows_tell` says that the product's own rows know of cancellations, so that they are looked at, too.
    """

    def __init__(
        self,
        *,
        queue: JobQueue,
        holdings: Holdings,
        lease: LeaseKeeper,
        catalogue: Catalogue,
        studio: Studio,
        courier: Courier,
        spool: Spool,
        announcer: Announcer,
        job_deadline: float,
        rows_tell: bool = False,
    ) -> None:
        self._queue = queue
        self._holdings = holdings
        self._lease = lease
        self._catalogue = catalogue
        self._studio = studio
        self._courier = courier
        self._spool = spool
        self._endings = Endings(holdings=holdings, studio=studio, courier=courier, spool=spool)
        self._announcer = announcer
        self._job_deadline = job_deadline
        self._rows_tell = rows_tell
        self._drawing: _Drawing | None = None
        lease.on_cancelled = self._cancel

    def interrupt(self, interruption: Interruption) -> None:
        """Stop the generation in progress, if there is one, at its next step."""
        if self._drawing is not None:
            self._drawing.interrupter.stop(interruption)

    async def work_on(self, holding: Holding) -> Ending:
        """Take a job as far as the GPU is needed and return its ending.

        Raises `Restart` after handing the job back when the process cannot go on, and `Fenced`.
        """
        delivery = holding.claim.delivery
        try:
            job = parse_job(delivery, self._catalogue)
        except MalformedElement as error:
            return partial(self._endings.bury, holding, str(error))
        except PayloadError as error:
            return partial(self._endings.refuse, holding, error)
        holding.job_id = job.id
        structlog.contextvars.bind_contextvars(job_id=job.id, attempt=job.attempt)
        log = structlog.get_logger()
        log.info("job_claimed", job_type=job.type.name, num_images=job.num_images)
        progress = Progress(job, self._announcer)
        progress.started()
        finished = self._spool.find(job.id)
        status = None
        if delivery.redelivered:
            # What is finished needs no row to go on; what is not would be generated again because of one bad answer.
            status = await self._courier.status(job.id, tries=PATIENT_TRIES if finished is None else 1)
        if status in OVER and not (finished is not None and status == "failed"):
            return partial(self._endings.already_over, holding, status, progress)
        if finished is not None and job.attempt <= MAX_DELIVERIES:
            log.info("job_resumed_from_spool")
            return await self._resume(holding, job, finished, progress)
        if job.attempt > MAX_ATTEMPTS:
            last = delivery.history[-1] if delivery.history else "unknown reason"  # a producer may forge an envelope
            reason = f"the job was given up after {MAX_ATTEMPTS} attempts, the last one because: {last}"
            return partial(self._endings.give_up, holding, job, GenerationFailed(reason), progress)
        # Of a redelivered job the product may have heard the end, and `processing` would undo it.
        return await self._draw(holding, job, progress, announced=not delivery.redelivered or status is not None)

    async def _resume(self, holding: Holding, job: Job, finished: Result, progress: Progress) -> Ending:
        """What is finished is delivered even when it was cancelled since: all that it could cost is spent."""
        try:
            await self._confirm_start(holding, job.id)
        except _NotBegun as error:
            return partial(self._endings.hand_back, holding, str(error), progress)
        return partial(self._endings.deliver, holding, job, finished, progress)

    async def _draw(self, holding: Holding, job: Job, progress: Progress, *, announced: bool) -> Ending:
        try:
            self._check(job)
        except WorkerError as error:
            return partial(self._endings.fail, holding, job, error, progress)
        drawing = _Drawing(job, Interrupter(self._job_deadline, guard=self._lease.check))
        self._drawing = drawing
        watching = asyncio.create_task(self._watch_row(drawing)) if self._rows_tell else None
        try:
            return await self._drawn(holding, drawing, progress, announced=announced)
        except BaseException:
            if drawing.processing is not None:
                drawing.processing.cancel()
            raise
        finally:
            self._drawing = None
            if watching is not None:
                watching.cancel()

    async def _drawn(self, holding: Holding, drawing: _Drawing, progress: Progress, *, announced: bool) -> Ending:
        job, endings = drawing.job, self._endings
        log = structlog.get_logger()
        begin = partial(self._begin, holding, drawing, announced=announced)
        ending: Ending
        try:
            drawn = await self._studio.draw(job, drawing.interrupter, progress, begin)
            return partial(endings.complete, holding, job, drawn, progress, announced=drawing.processing)
        except DeadlinePassed:
            limit = f"{self._job_deadline:g} s"
            late = DeadlineExceeded(f"the job took longer than {limit}; try fewer steps or frames")
            ending = partial(endings.fail, holding, job, late, progress)
        except (Drained, _NotBegun) as reason:
            ending = partial(endings.put_back, holding, str(reason), progress)
        except Cancelled as cancelled:
            ending = partial(endings.cancel, holding, job, progress, tell=not cancelled.by_the_product)
        except Restart as error:
            if drawing.processing is not None:
                await asyncio.wait({drawing.processing})
            # When this fails, the job is handed back once the process is gone.
            with contextlib.suppress(Retry, BackendRefused):
                charged = isinstance(error, PoisonedContext)
                await endings.hand_back(holding, str(error), progress, charged=charged)
            raise
        except WorkerError as error:
            ending = partial(endings.fail, holding, job, error, progress)
        except Exception:
            log.exception("generation_failed")
            ending = partial(endings.fail, holding, job, GenerationFailed(INTERNAL), progress)
        return partial(after, drawing.processing, ending)

    async def _begin(self, holding: Holding, drawing: _Drawing, *, announced: bool) -> None:
        """From here on the attempt is charged, and the product is told.

        Raises `Fenced`, `Cancelled`, `ConfigurationError`, or `_NotBegun`.
        """
        if await self._confirm_start(holding, drawing.job.id):
            raise Cancelled
        drawing.interrupter.look()
        structlog.get_logger().info("generation_started")
        if announced:
            drawing.processing = asyncio.create_task(self._announce_processing(drawing.job))

    async def _confirm_start(self, holding: Holding, job_id: str) -> bool:
        """Have Redis charge this attempt if the worker dies from now on; returns whether the job was cancelled."""
        sent_at = self._lease.now()
        try:
            begun = await self._queue.begin(holding.claim, job_id)
        except Retry as error:
            holding.doubtful = True
            raise _NotBegun(str(error)) from error
        except BackendRefused as error:
            raise ConfigurationError(str(error)) from error
        if begun is None:
            raise Fenced("the lease had lapsed before the work began")
        self._lease.confirm(sent_at)
        holding.claim = begun.claim
        return begun.cancelled

    def _check(self, job: Job) -> None:
        if job.type.queue != self._queue.name:
            raise BadJob(f"{job.type.name} jobs belong on {job.type.queue}, this one came on {self._queue.name}")
        self._studio.check(job)

    def _cancel(self, job_ids: Collection[str]) -> None:
        if self._drawing is not None and self._drawing.job.id in job_ids:
            self.interrupt(Cancelled())

    async def _watch_row(self, drawing: _Drawing) -> None:
        while True:
            if await self._courier.status(drawing.job.id) == "cancelled":
                drawing.interrupter.stop(Cancelled(by_the_product=True))
                return
            await asyncio.sleep(ROW_LOOK_SECONDS)

    async def _announce_processing(self, job: Job) -> None:
        """A courtesy to the user: when it fails, the job goes on, unless no report will ever pass."""
        try:
            await self._courier.announce_processing(job)
        except Fenced:
            return  # the delivery meets the same fence
        except Restart as error:
            self.interrupt(Drained(str(error)))  # the result could not be reported either
            raise
        except WorkerError as error:
            structlog.get_logger().warning("processing_not_reported", problem=str(error))
        except Exception:  # noqa: BLE001 - not even a bug in a courtesy may cost the user what is generated meanwhile
            structlog.get_logger().exception("processing_not_reported")


class _NotBegun(Exception):
    """Redis did not confirm the start, so there is none."""

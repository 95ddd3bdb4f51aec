"""The way of one job: from the claimed element to the ending that takes it off the queue."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
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
    DeadlineExceeded,
    DeadlinePassed,
    Drained,
    Fenced,
    GenerationFailed,
    Interruption,
    NotBegun,
    PoisonedContext,
    Restart,
    Retry,
    WorkerError,
)
from ourvidz_worker.instruments import jobs
from ourvidz_worker.instruments.stages import passed
from ourvidz_worker.ports import JobQueue
from ourvidz_worker.runtime.card import Card
from ourvidz_worker.runtime.courier import OVER, PATIENT_TRIES, Courier
from ourvidz_worker.runtime.endings import INTERNAL, Ending, Endings, after
from ourvidz_worker.runtime.holdings import Holding, Holdings
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.lease import LeaseKeeper
from ourvidz_worker.runtime.preparation import Preparation
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Result, Spool
from ourvidz_worker.runtime.starts import Starts, Work
from ourvidz_worker.runtime.studio import Drawn, Outcome, Sitter, Studio

MAX_ATTEMPTS = 3
MAX_DELIVERIES = MAX_ATTEMPTS + 2  # what is finished already may cost the process more often than what is not
ROW_LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How jobs are worked on.

    `job_deadline` is in seconds, of which none counts while others have the card. `most_images` is how many pictures of
    several jobs one batch may hold. `rows_tell` says that the product's own rows know of cancellations, so that they
    are looked at, too.
    """

    job_deadline: float
    most_images: int = 1
    rows_tell: bool = False


class Handler:
    """Works on what is on the card and on what is next; the endings may overlap both."""

    def __init__(
        self,
        *,
        queue: JobQueue,
        holdings: Holdings,
        lease: LeaseKeeper,
        catalogue: Catalogue,
        preparation: Preparation,
        studio: Studio,
        courier: Courier,
        spool: Spool,
        announcer: Announcer,
        terms: Terms,
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._catalogue = catalogue
        self._preparation = preparation
        self._courier = courier
        self._spool = spool
        self._starts = Starts(queue=queue, lease=lease, courier=courier, interrupt=self.interrupt)
        self.card = Card(studio, most_images=terms.most_images)
        self._endings = Endings(holdings=holdings, studio=studio, courier=courier, spool=spool)
        self._announcer = announcer
        self._terms = terms
        self._works: set[Work] = set()
        self._closed: Interruption | None = None
        lease.on_cancelled = self.cancel
        jobs.expected((name for name, job_type in catalogue.items() if job_type.queue == queue.name), queue.name)

    def interrupt(self, reason: Interruption) -> None:
        """Stop all work at its next step, and every job that comes later before its first."""
        self.close(reason)
        for work in self._works:
            work.interrupter.stop(reason)

    def close(self, reason: Interruption) -> None:
        """Nobody gets the card any more; what is on it goes on."""
        self._closed = reason
        for work in self._works:
            if not work.seated:
                work.interrupter.stop(reason)

    def cancel(self, job_ids: Collection[str]) -> None:
        """Stop these jobs at their next step, where they are still at work."""
        for work in self._works:
            if work.job.id in job_ids:
                work.interrupter.stop(Cancelled())

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
            return partial(self._endings.refuse, holding, error, self._announcer)
        holding.job_id = job.id
        structlog.contextvars.bind_contextvars(job_id=job.id, attempt=job.attempt)
        structlog.get_logger().info("job_claimed", job_type=job.type.name, num_images=job.num_images)
        jobs.claimed(
            job,
            holding.claim.queue,
            claim_seconds=holding.claim_seconds,
            seconds_ago=time.monotonic() - holding.taken_at,
            redelivered=delivery.redelivered,
        )
        progress = Progress(job, self._announcer)
        progress.started()
        with self._working(holding, job, progress) as work:
            try:
                return await self._look_back(work) or await self._draw(work)
            except Interruption as reason:
                return partial(after, work.processing, self._stopped(work, reason))

    @contextmanager
    def _working(self, holding: Holding, job: Job, progress: Progress) -> Iterator[Work]:
        work = Work(holding, job, progress, Interrupter(self._terms.job_deadline, guard=self._lease.check))
        if self._closed is not None:
            work.interrupter.stop(self._closed)
        self._works.add(work)
        try:
            yield work
        except BaseException:
            work.abandon()
            raise
        finally:
            self._works.discard(work)

    async def _look_back(self, work: Work) -> Ending | None:
        """The ending of a job that is over, finished or given up already; None for one that is to be generated."""
        holding, job, progress = work.holding, work.job, work.progress
        delivery = holding.claim.delivery
        finished = self._spool.find(job.id)
        status = None
        if delivery.redelivered:
            # What is finished needs no row to go on; what is not would be generated again because of one bad answer.
            if finished is not None:
                status = await self._courier.status(job.id)
            else:
                status = await work.interrupter.run(self._courier.status(job.id, tries=PATIENT_TRIES))
        if status in OVER and not (finished is not None and status == "failed"):
            return partial(self._endings.already_over, holding, status, progress)
        if finished is not None and job.attempt <= MAX_DELIVERIES:
            structlog.get_logger().info("job_resumed_from_spool")
            return await self._resume(work, finished)
        if job.attempt > MAX_ATTEMPTS:
            last = delivery.history[-1] if delivery.history else "unknown reason"  # a producer may forge an envelope
            reason = f"the job was given up after {MAX_ATTEMPTS} attempts, the last one because: {last}"
            return partial(self._endings.give_up, holding, job, GenerationFailed(reason), progress)
        # Of a redelivered job the product may have heard the end, and `processing` would undo it.
        work.announced = not delivery.redelivered or status is not None
        return None

    async def _resume(self, work: Work, finished: Result) -> Ending:
        """What is finished is delivered even when it was cancelled since: all that it could cost is spent."""
        try:
            await self._starts.confirm(work.holding, work.job.id)
        except NotBegun as error:
            return partial(self._endings.hand_back, work.holding, str(error), work.progress)
        return partial(self._endings.deliver, work.holding, work.job, finished, work.progress)

    async def _draw(self, work: Work) -> Ending:
        holding, job, progress = work.holding, work.job, work.progress
        error: WorkerError
        try:
            self._check(job)
            with self._watching_row(work):
                drawn = await self._generated(work)
            return partial(self._endings.complete, holding, job, drawn, progress, announced=work.processing)
        except Restart as trouble:
            await self._hand_back(work, trouble)
            raise
        except WorkerError as trouble:
            error = trouble
        except Exception:  # noqa: BLE001 - one sentence for the user, and the trace in the log
            structlog.get_logger().exception("generation_failed")
            error = GenerationFailed(INTERNAL)
        return partial(after, work.processing, partial(self._endings.fail, holding, job, error, progress))

    async def _generated(self, work: Work) -> Drawn:
        begin = partial(self._starts.begin, work)
        sitter = await self._preparation.prepare(work.job, work.interrupter, work.progress, begin)
        if self.card.busy or self.card.shared:  # who may share a batch is told by the prompt, too
            await self._preparation.read_ahead(sitter)
        suspect = work.holding.claim.delivery.redelivered
        outcome = await self._drawn(sitter, work, suspect=suspect)
        if isinstance(outcome, Fenced | Restart):
            raise outcome
        try:
            await work.started()  # what became of the start says more than what it led to
        except BaseException:
            if isinstance(outcome, Drawn):
                outcome.discard()
            raise
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def _drawn(self, sitter: Sitter, work: Work, *, suspect: bool) -> Outcome:
        waiting = time.monotonic()
        error: BaseException | None = None
        try:
            outcome = await self.card.draw(sitter, partial(self._seat, work), suspect=suspect)
            error = outcome if isinstance(outcome, BaseException) else None
        except BaseException as reason:
            error = reason
            raise
        finally:
            _time(waiting, work, error)
        if isinstance(outcome, Drawn):
            _count(outcome)
        return outcome

    def _seat(self, work: Work, sharers: int) -> asyncio.Task[None] | None:
        work.seated_at = time.monotonic()
        work.seated = sharers
        work.holding.share = Fraction(1, sharers)
        return self._starts.send(work)

    async def _hand_back(self, work: Work, error: Restart) -> None:
        """When this fails, the job is handed back once the process is gone."""
        words = [word for word in (work.starting, work.processing) if word is not None]
        if words:
            await asyncio.wait(words)
        # Of several in one batch nobody knows which one it was; drawn alone the next time, it shows itself.
        charged = isinstance(error, PoisonedContext) and work.seated == 1
        with contextlib.suppress(Retry, BackendRefused):
            await self._endings.hand_back(work.holding, str(error), work.progress, charged=charged)

    def _stopped(self, work: Work, reason: Interruption) -> Ending:
        holding, job, progress = work.holding, work.job, work.progress
        match reason:
            case DeadlinePassed():
                limit = f"{self._terms.job_deadline:g} s"
                late = DeadlineExceeded(f"the job took longer than {limit}; try fewer steps or frames")
                return partial(self._endings.fail, holding, job, late, progress)
            case Cancelled():
                return partial(self._endings.cancel, holding, job, progress, tell=not reason.by_the_product)
            case Drained() | NotBegun():
                return partial(self._endings.put_back, holding, str(reason), progress)
        raise reason

    def _check(self, job: Job) -> None:
        if job.type.queue != self._queue.name:
            raise BadJob(f"{job.type.name} jobs belong on {job.type.queue}, this one came on {self._queue.name}")
        self._preparation.check(job)

    @contextmanager
    def _watching_row(self, work: Work) -> Iterator[None]:
        watching = asyncio.create_task(self._watch_row(work)) if self._terms.rows_tell else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()

    async def _watch_row(self, work: Work) -> None:
        while True:
            if await self._courier.status(work.job.id) == "cancelled":
                work.interrupter.stop(Cancelled(by_the_product=True))
                return
            await asyncio.sleep(ROW_LOOK_SECONDS)


def _time(waiting: float, work: Work, error: BaseException | None) -> None:
    """Of a job that waited for the card since `waiting`, and got it or did not."""
    now = time.monotonic()
    if not work.seated:
        passed("wait", now - waiting, seconds_ago=now - waiting, error=error)
        return
    passed("wait", work.seated_at - waiting, seconds_ago=now - waiting)
    passed("generate", now - work.seated_at, seconds_ago=now - work.seated_at, error=error)


def _count(drawn: Drawn) -> None:
    jobs.generated(
        drawn.request.job,
        drawn.generation_seconds,
        peak_gb=drawn.memory.used_gb if drawn.memory else None,
        recovered="recovery_steps" in drawn.generation.details,
    )

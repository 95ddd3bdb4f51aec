"""The start of a generation: Redis charges the attempt from then on, and the product is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import (
    BackendRefused,
    Cancelled,
    ConfigurationError,
    Drained,
    Fenced,
    Interruption,
    NotBegun,
    Restart,
    Retry,
    WorkerError,
)
from ourvidz_worker.ports import JobQueue
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.holdings import Holding
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.lease import LeaseKeeper
from ourvidz_worker.runtime.progress import Progress


@dataclass(eq=False, slots=True)
class Work:
    """A job between its claim and the end of its generation, what stops it, and the word that it is begun.

    `announced` says that the product may be told of the start. `seated` is how many jobs it has the card with, itself
    included, and 0 as long as it has not got it; `seated_at` is when it got it, on the monotonic clock.
    """

    holding: Holding
    job: Job
    progress: Progress
    interrupter: Interrupter
    announced: bool = True
    seated: int = 0
    seated_at: float = 0.0
    starting: asyncio.Task[None] | None = None
    processing: asyncio.Task[None] | None = None

    async def started(self) -> None:
        """What became of the start, where one was sent; raises as `Starts.begin`."""
        if self.starting is not None:
            await self.starting

    def abandon(self) -> None:
        """Nobody waits any more for the words that are on their way."""
        for word in (self.starting, self.processing):
            if word is not None:
                word.cancel()


class Starts:
    """Sends the word that a job is begun. `interrupt` stops all work of a process to which no report is open."""

    def __init__(
        self, *, queue: JobQueue, lease: LeaseKeeper, courier: Courier, interrupt: Callable[[Interruption], None]
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._courier = courier
        self._interrupt = interrupt

    def send(self, work: Work) -> asyncio.Task[None] | None:
        """Begin, unless that was done before, while the generation goes on to its first step.

        A job may get the card in the moment in which it is stopped: then there is nothing to begin.
        """
        if work.starting is not None or work.interrupter.stopped:
            return None
        work.starting = asyncio.create_task(self._begin(work))
        work.starting.add_done_callback(_heard)
        return work.starting

    async def begin(self, work: Work) -> None:
        """From here on the attempt is charged, and the product is told.

        Raises `Fenced`, `Cancelled`, `ConfigurationError`, or `NotBegun`.
        """
        self.send(work)
        await work.started()

    async def confirm(self, holding: Holding, job_id: str) -> bool:
        """Have Redis charge this attempt if the worker dies from now on; returns whether the job was cancelled."""
        sent_at = self._lease.now()
        try:
            begun = await self._queue.begin(holding.claim, job_id)
        except Retry as error:
            holding.doubtful = True
            raise NotBegun(str(error)) from error
        except BackendRefused as error:
            raise ConfigurationError(str(error)) from error
        if begun is None:
            raise Fenced("the lease had lapsed before the work began")
        self._lease.confirm(sent_at)
        holding.claim = begun.claim
        return begun.cancelled

    async def _begin(self, work: Work) -> None:
        try:
            if await self.confirm(work.holding, work.job.id):
                work.interrupter.stop(Cancelled())
            work.interrupter.look()
        except Interruption as reason:
            work.interrupter.stop(reason)
            raise
        except BaseException as error:
            work.interrupter.stop(Drained(str(error)))
            raise
        # Only now may the generation go on from its first step: until then a death of this process is not charged,
        # and the job may be cancelled or belong to others.
        work.interrupter.confirm_start()
        structlog.get_logger().info("generation_started")
        if work.announced:
            work.processing = asyncio.create_task(self._announce_processing(work.job))

    async def _announce_processing(self, job: Job) -> None:
        """A courtesy to the user: when it fails, the job goes on, unless no report will ever pass."""
        try:
            await self._courier.announce_processing(job)
        except Fenced:
            return  # the delivery meets the same fence
        except Restart as error:
            self._interrupt(Drained(str(error)))  # the result could not be reported either
            raise
        except WorkerError as error:
            structlog.get_logger().warning("processing_not_reported", problem=str(error))
        except Exception:  # noqa: BLE001 - not even a bug in a courtesy may cost the user what is generated meanwhile
            structlog.get_logger().exception("processing_not_reported")


def _heard(start: asyncio.Task[None]) -> None:
    """A start whose job is gone is asked for by nobody."""
    with contextlib.suppress(asyncio.CancelledError):
        start.exception()

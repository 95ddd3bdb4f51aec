"""The loop of a worker: fetch until empty, then wait for a poll interval or the stop."""

from __future__ import annotations

import asyncio
import contextlib
import time

import structlog

from ourvidz_worker.control import Announcer, Message, WorkerState
from ourvidz_worker.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    Drained,
    Fenced,
    Interruption,
    QuotaExceeded,
    Restart,
    Retry,
)
from ourvidz_worker.ports import Claim, JobQueue
from ourvidz_worker.runtime.handling import Ending, Handler
from ourvidz_worker.runtime.lease import LeaseKeeper
from ourvidz_worker.runtime.recovery import Recovery
from ourvidz_worker.runtime.studio import Studio

# One job is delivered while the next is drawn; more would only pile up results of a slow backend.
MAX_ENDINGS = 1
OUTAGE_LIMIT = 60.0
QUOTA_PAUSE = 900.0
DELIVERY_GRACE = 10.0  # a generation that finished in the last second of the grace still has to be uploaded


class Worker:
    """One model family on one queue."""

    def __init__(
        self,
        *,
        queue: JobQueue,
        studio: Studio,
        handler: Handler,
        announcer: Announcer,
        poll_seconds: float,
        grace_period: float,
    ) -> None:
        self._queue = queue
        self._studio = studio
        self._handler = handler
        self._announcer = announcer
        self._poll_seconds = poll_seconds
        self._grace_period = grace_period
        self._stopping = asyncio.Event()
        self._held: list[Claim] = []
        self._endings: set[asyncio.Task[None]] = set()
        self._lease = LeaseKeeper(queue, holding=lambda: bool(self._held))
        self._recovery = Recovery(queue, held=self._held)
        self._outage_pause = poll_seconds
        self._drain_until = 0.0
        self._fatal: Restart | None = None

    def stop(self) -> None:
        """Take no more jobs; the running one may finish within the grace period."""
        if self._stopping.is_set():
            return
        self._say(WorkerState.DRAINING)
        self._stopping.set()
        loop = asyncio.get_running_loop()
        self._drain_until = loop.time() + self._grace_period
        drained = Drained("the worker was shut down before the job was finished")
        loop.call_at(self._drain_until, self._handler.interrupt, drained)

    async def run(self) -> None:
        """Work until stopped.

        Raises `ConfigurationError` (models, token), `PoisonedContext`, or `Fenced` when the lease is lost.
        """
        self._say(WorkerState.LOADING)
        begun = time.monotonic()
        loading = asyncio.create_task(self._studio.open())
        await self._wait_any(loading)
        if not loading.done():
            return  # stopped while nothing is held yet; the caller ends the process under the loading thread
        loading.result()
        structlog.get_logger().info("models_loaded", seconds=round(time.monotonic() - begun, 3))
        self._say(WorkerState.READY)
        background = [asyncio.create_task(self._lease.keep()), asyncio.create_task(self._recovery.reap_regularly())]
        working = asyncio.create_task(self._work())
        try:
            await asyncio.wait({working, background[0]}, return_when=asyncio.FIRST_COMPLETED)
            if background[0].done():
                await self._fence(working)
                background[0].result()  # raises `Fenced`
            try:
                working.result()
            finally:
                await self._drain()
            if self._fatal is not None:
                raise self._fatal
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    async def _work(self) -> None:
        while await self._may_claim():
            claim, pause = await self._next_claim()
            if claim is None:
                await self._wait(pause)
                continue
            self._held.append(claim)
            if self._stopping.is_set():
                return  # the stop came during the claim; the drain hands it back
            self._say(WorkerState.BUSY)
            with structlog.contextvars.bound_contextvars(queue=claim.queue):
                try:
                    ending = await self._handler.work_on(claim)
                except Restart:
                    self._held.remove(claim)  # the handler gave it back
                    raise
                self._begin(claim, ending)
            structlog.contextvars.unbind_contextvars("job_id", "attempt")
            if not self._stopping.is_set():
                self._say(WorkerState.READY)

    async def _next_claim(self) -> tuple[Claim | None, float]:
        """The next job, or None and how many seconds to wait before asking again."""
        try:
            if self._recovery.answer_lost:
                await self._recovery.return_lost_claims()
            if not await self._waiting():
                return None, self._recovered()
            sent_at = time.monotonic()
            claim = await self._queue.claim()
        except QuotaExceeded as error:
            structlog.get_logger().error("redis_quota_exceeded", problem=str(error), pause_seconds=QUOTA_PAUSE)
            return None, QUOTA_PAUSE
        except BackendUnavailable as error:
            # The answer to a claim may be lost while the claim was done: look into the held list first.
            self._recovery.answer_lost = True
            self._outage_pause = min(2 * self._outage_pause, OUTAGE_LIMIT)
            structlog.get_logger().warning("queue_unavailable", problem=str(error), pause_seconds=self._outage_pause)
            return None, self._outage_pause
        except BackendRefused as error:
            raise ConfigurationError(str(error)) from error
        self._lease.confirm(sent_at)
        return claim, self._recovered()

    def _recovered(self) -> float:
        """The queue answered: the next outage begins with a short pause again."""
        self._outage_pause = self._poll_seconds
        return self._poll_seconds

    async def _waiting(self) -> int:
        waiting = await self._queue.length()
        self._announcer.announce(Message("poll", waiting=waiting))
        return waiting

    def _begin(self, claim: Claim, ending: Ending) -> None:
        task = asyncio.create_task(self._end(claim, ending))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _end(self, claim: Claim, ending: Ending) -> None:
        try:
            await self._run_ending(claim, ending)
        except (Retry, BackendRefused) as error:
            # The command may or may not have been done; what is still in the held list is found by the look-up.
            structlog.get_logger().warning("ending_unconfirmed", problem=str(error))
            self._recovery.answer_lost = True
        except Restart as error:
            self._give_up(error)
        # Not in a `finally`: when cancelled, the claim is still held and is handed back by the drain.
        self._held.remove(claim)

    async def _run_ending(self, claim: Claim, ending: Ending) -> None:
        try:
            await ending()
        except (Retry, BackendRefused, Restart):
            raise
        except Exception:  # noqa: BLE001 - a bug in one ending may not cost the worker its other jobs
            structlog.get_logger().exception("ending_failed")
            await self._queue.requeue(claim, "the delivery failed with an internal error", charged=True)

    def _give_up(self, error: Restart) -> None:
        """Nothing that this process could do would be accepted: stop at once, and end with the reason."""
        self._fatal = self._fatal or error
        self._stopping.set()
        self._handler.interrupt(Drained(str(error)))

    async def _may_claim(self) -> bool:
        """Wait for room for another job; False when none may be taken any more."""
        while len(self._endings) > MAX_ENDINGS and not self._stopping.is_set():
            await self._wait_any(*self._endings)
        return not self._stopping.is_set()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _wait_any(self, *tasks: asyncio.Task[None]) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _fence(self, working: asyncio.Task[None]) -> None:
        """Stop at once and deliver nothing: others may have the jobs by now."""
        structlog.get_logger().error("fenced", held=len(self._held))
        self._say(WorkerState.FAILED)
        self._stopping.set()
        for task in self._endings:
            task.cancel()
        self._handler.interrupt(Fenced("the lease was lost"))
        with contextlib.suppress(Interruption):
            await working

    async def _drain(self) -> None:
        """Let deliveries come to their end, then hand back what is still held."""
        if self._endings:
            left = max(self._drain_until - asyncio.get_running_loop().time(), DELIVERY_GRACE)
            _, late = await asyncio.wait(self._endings, timeout=left)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for claim in list(self._held):
            await self._hand_back(claim)

    async def _hand_back(self, claim: Claim) -> None:
        try:
            await self._queue.requeue(claim, "the worker was shut down before the job was delivered", charged=False)
        except (Retry, BackendRefused) as error:
            # Not lost: the supervisor or a reaper hands back what a dead owner holds.
            structlog.get_logger().warning("hand_back_failed", queue=claim.queue, problem=str(error))
            return
        structlog.get_logger().warning("job_handed_back", queue=claim.queue)

    def _say(self, state: WorkerState) -> None:
        self._announcer.announce(Message("state", state=state))

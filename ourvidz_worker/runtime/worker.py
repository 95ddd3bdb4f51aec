"""The loop of a worker: fetch until empty, then wait for a poll interval or the stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import structlog

from ourvidz_worker.control import Announcer, Message, WorkerState
from ourvidz_worker.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    Drained,
    Fenced,
    QuotaExceeded,
    Restart,
    Retry,
)
from ourvidz_worker.ports import Claim, JobQueue
from ourvidz_worker.runtime.endings import Ending
from ourvidz_worker.runtime.handling import Handler
from ourvidz_worker.runtime.holdings import Holding, Holdings
from ourvidz_worker.runtime.lease import LeaseKeeper
from ourvidz_worker.runtime.reaper import Reaper
from ourvidz_worker.runtime.studio import Studio

# One job is delivered while the next is drawn; more would only pile up results of a slow backend.
MAX_ENDINGS = 1
OUTAGE_LIMIT = 60.0
QUOTA_PAUSE = 900.0
SHORTAGE_PAUSE = 5.0
FENCE_PATIENCE = 10.0
DELIVERY_GRACE = 10.0  # a generation that finished in the last second of the grace still has to be uploaded


class Worker:
    """One model family on one queue. `shortage` says what keeps finished results from the disk, if anything does."""

    def __init__(
        self,
        *,
        queue: JobQueue,
        holdings: Holdings,
        lease: LeaseKeeper,
        reaper: Reaper,
        studio: Studio,
        handler: Handler,
        announcer: Announcer,
        shortage: Callable[[], str | None],
        poll_seconds: float,
        grace_period: float,
    ) -> None:
        self._queue = queue
        self._holdings = holdings
        self._lease = lease
        self._reaper = reaper
        self._studio = studio
        self._handler = handler
        self._announcer = announcer
        self._shortage = shortage
        self._poll_seconds = poll_seconds
        self._grace_period = grace_period
        self._stopping = asyncio.Event()
        self._cut_off = asyncio.Event()
        self._endings: set[asyncio.Task[None]] = set()
        self._outage_pause = poll_seconds
        self._drain_until = 0.0
        self._fatal: Restart | None = None
        self._full = False

    def stop(self, *, at_once: bool = False) -> None:
        """Take no more jobs; the running one may finish within the grace period, or not `at_once`."""
        if self._stopping.is_set() and not at_once:
            return
        self._say(WorkerState.DRAINING)
        self._stopping.set()
        loop = asyncio.get_running_loop()
        self._drain_until = loop.time() + (0 if at_once else self._grace_period)
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
        keeping = asyncio.create_task(self._lease.keep())
        reaping = asyncio.create_task(self._reaper.reap_regularly())
        working = asyncio.create_task(self._work_and_drain())
        cut_off = asyncio.create_task(self._wait_until_cut_off())
        try:
            await asyncio.wait({working, keeping, cut_off}, return_when=asyncio.FIRST_COMPLETED)
            for task in (keeping, cut_off, working):
                if task.done():
                    task.result()  # the first two only ever raise `Fenced`
        except Fenced as fenced:
            await self._fence(working, fenced)
            raise
        finally:
            background = (keeping, reaping, cut_off)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    async def _wait_until_cut_off(self) -> None:
        await self._cut_off.wait()
        raise Fenced("the lease was lost during a delivery")

    async def _work_and_drain(self) -> None:
        try:
            await self._work()
        except Fenced:
            raise
        except BaseException:
            await self._drain()
            raise
        await self._drain()
        if self._fatal is not None:
            raise self._fatal

    async def _work(self) -> None:
        while await self._may_claim():
            claim, pause = await self._next_claim()
            if claim is None:
                await self._wait(pause)
                continue
            holding = self._holdings.take(claim)
            if self._stopping.is_set():
                return  # the stop came during the claim; the drain hands it back
            self._say(WorkerState.BUSY)
            with structlog.contextvars.bound_contextvars(queue=claim.queue):
                self._begin(holding, await self._handler.work_on(holding))
            structlog.contextvars.unbind_contextvars("job_id", "attempt")
            if not self._stopping.is_set():
                self._say(WorkerState.READY)

    async def _next_claim(self) -> tuple[Claim | None, float]:
        """The next job, or None and how many seconds to wait before asking again."""
        try:
            if self._holdings.answer_lost:
                await self._holdings.look_up()
            if not await self._waiting():
                return None, self._recovered()
            sent_at = self._lease.now()
            claim = await self._queue.claim()
        except QuotaExceeded as error:
            structlog.get_logger().error("redis_quota_exceeded", problem=str(error), pause_seconds=QUOTA_PAUSE)
            return None, QUOTA_PAUSE
        except BackendUnavailable as error:
            # The answer to a claim may be lost while the claim was done: look into the held list first.
            self._holdings.answer_lost = True
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

    def _begin(self, holding: Holding, ending: Ending) -> None:
        task = asyncio.create_task(self._end(holding, ending))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _end(self, holding: Holding, ending: Ending) -> None:
        try:
            await self._run_ending(holding, ending)
        except (Retry, BackendRefused) as error:
            # The last word may or may not have been heard; the look-up into the held list finds out.
            structlog.get_logger().warning("ending_unconfirmed", problem=str(error))
        except Restart as error:
            self._give_up(error)
        except Fenced:
            self._cut_off.set()

    async def _run_ending(self, holding: Holding, ending: Ending) -> None:
        try:
            await ending()
        except (Retry, BackendRefused, Restart):
            raise
        except Exception:  # noqa: BLE001 - a bug in one ending may not cost the worker its other jobs
            structlog.get_logger().exception("ending_failed")
            await self._holdings.requeue(holding, "the delivery failed with an internal error", charged=True)

    def _give_up(self, error: Restart) -> None:
        """Nothing that this process could do would be accepted: stop at once, and end with the reason."""
        self._fatal = self._fatal or error
        self._stopping.set()
        self._handler.interrupt(Drained(str(error)))

    async def _may_claim(self) -> bool:
        """Wait for room for another job; False when none may be taken any more."""
        while len(self._endings) > MAX_ENDINGS and not self._stopping.is_set():
            await self._wait_any(*self._endings)
        while not self._stopping.is_set() and (problem := self._shortage()):
            if not self._full:
                structlog.get_logger().error("spool_full", problem=problem)
                self._say(WorkerState.FAILED, problem)
            self._full = True
            await self._wait(max(self._poll_seconds, SHORTAGE_PAUSE))
        if self._full and not self._stopping.is_set():
            self._full = False
            structlog.get_logger().info("spool_recovered")
            self._say(WorkerState.READY)
        return not self._stopping.is_set()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _wait_any(self, *tasks: asyncio.Task[None]) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _fence(self, working: asyncio.Task[None], fenced: Fenced) -> None:
        """Stop at once and deliver nothing: others may have the jobs by now."""
        structlog.get_logger().error("fenced", problem=str(fenced), held=len(self._holdings))
        self._announcer.announce(Message("fenced", reason=str(fenced)))
        self._say(WorkerState.FAILED, str(fenced))
        self._stopping.set()
        for task in self._endings:
            task.cancel()
        self._handler.interrupt(fenced)
        # A step that never ends is left behind: the process ends under it.
        await asyncio.wait({working}, timeout=FENCE_PATIENCE)
        working.cancel()
        await asyncio.gather(working, *self._endings, return_exceptions=True)

    async def _drain(self) -> None:
        """Let deliveries come to their end, then hand back what is still held."""
        if self._endings:
            left = max(self._drain_until - asyncio.get_running_loop().time(), DELIVERY_GRACE)
            _, late = await asyncio.wait(self._endings, timeout=left)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._holdings or self._holdings.answer_lost:
            with self._unconfirmed():
                await self._holdings.look_up()
        for holding in self._holdings:
            with self._unconfirmed():
                await self._hand_back(holding)

    @contextlib.contextmanager
    def _unconfirmed(self) -> Iterator[None]:
        """What fails now is not lost: the supervisor or a reaper hands back what a dead owner holds."""
        try:
            yield
        except (Retry, BackendRefused) as error:
            structlog.get_logger().warning("hand_back_failed", held=len(self._holdings), problem=str(error))

    async def _hand_back(self, holding: Holding) -> None:
        """A job that was begun may have been reported, so it says that this is not its first delivery."""
        if holding.claim.delivery.started:
            reason = "the worker was shut down before the job was delivered"
            await self._holdings.requeue(holding, reason, charged=False)
        else:
            await self._holdings.put_back(holding)
        structlog.get_logger().warning("job_handed_back", queue=holding.claim.queue)

    def _say(self, state: WorkerState, reason: str | None = None) -> None:
        self._announcer.announce(Message("state", state=state, reason=reason))

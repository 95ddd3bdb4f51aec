"""The loop of a worker: fetch ahead of the card until the queue is empty, then wait for a poll interval or the stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterator

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
    WorkerError,
)
from ourvidz_worker.instruments import exchanges, metrics, tracing
from ourvidz_worker.ports import Claim, JobQueue
from ourvidz_worker.runtime.endings import Ending
from ourvidz_worker.runtime.handling import Handler
from ourvidz_worker.runtime.holdings import Holding, Holdings
from ourvidz_worker.runtime.lease import LeaseKeeper
from ourvidz_worker.runtime.patience import Patience
from ourvidz_worker.runtime.reaper import Reaper
from ourvidz_worker.runtime.studio import Studio

# What one generation made is delivered while the next is drawn; more would only pile up results of a slow backend.
MAX_ENDINGS = 1
QUOTA_PAUSE = 900.0
SHORTAGE_PAUSE = 5.0
FENCE_PATIENCE = 10.0
DELIVERY_GRACE = 10.0  # a generation that finished in the last second of the grace still has to be uploaded


class Worker:
    """One model family on one queue, with one job, or what shares one batch, claimed ahead of the card.

    `shortage` says what keeps finished results from the disk, if anything does.
    """

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
        patience: Patience,
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
        self._patience = patience
        self._grace_period = grace_period
        self._stopping = asyncio.Event()
        self._cut_off = asyncio.Event()
        self._changed = asyncio.Event()
        self._hurried = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._endings: dict[asyncio.Task[None], Holding] = {}
        self._drain_until = 0.0
        self._fatal: Exception | None = None
        self._fenced: Fenced | None = None
        self._more_wait = False
        self._idle = False
        self._full = False
        self._claim_seconds = 0.0
        handler.card.on_change = self._changed.set

    def stop(self, *, at_once: bool = False) -> None:
        """Take no more jobs, and hand back what waits; the running one may finish in the grace period or, `at_once`,
        at its next step.
        """
        if self._stopping.is_set() and not at_once:
            return
        self._say(WorkerState.DRAINING)
        self._halt()
        loop = asyncio.get_running_loop()
        self._drain_until = loop.time() + (0 if at_once else self._grace_period)
        drained = Drained("the worker was shut down before the job was finished")
        self._handler.close(drained)
        loop.call_at(self._drain_until, self._handler.interrupt, drained)

    def cancel(self, job_ids: Collection[str]) -> None:
        """Stop these jobs at their next step, as a renewal of the lease does that tells of them."""
        self._handler.cancel(job_ids)

    async def run(self) -> None:
        """Work until stopped.

        Raises `ConfigurationError` (models, token), `PoisonedContext`, or `Fenced` when the lease is lost.
        """
        if not await self._load():
            return  # stopped while nothing is held yet; the caller ends the process under the loading thread
        if not self._stopping.is_set():
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

    async def _load(self) -> bool:
        """Have the models ready, and know by then whether anything waits; False when stopped meanwhile."""
        self._say(WorkerState.LOADING)
        begun = time.monotonic()
        loading = asyncio.create_task(self._studio.open())
        looking = asyncio.create_task(self._look_while_loading())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (looking, stopping):
            task.cancel()
        await asyncio.gather(looking, stopping, return_exceptions=True)
        if not loading.done():
            return False
        loading.result()
        structlog.get_logger().info("models_loaded", seconds=round(time.monotonic() - begun, 3))
        return True

    async def _look_while_loading(self) -> None:
        """Nothing is taken yet; what is wrong with the queue shows again once the models are there."""
        while True:
            try:
                await self._look()
            except WorkerError as error:
                structlog.get_logger().warning("queue_unavailable", problem=str(error))
            await asyncio.sleep(self._patience.poll_seconds)

    async def _wait_until_cut_off(self) -> None:
        await self._cut_off.wait()
        assert self._fenced is not None
        raise self._fenced

    async def _work_and_drain(self) -> None:
        try:
            await self._work()
        except BaseException:
            await self._drain()
            raise
        await self._drain()
        if self._fatal is not None:
            raise self._fatal

    async def _work(self) -> None:
        while await self._may_claim():
            claim, pause = await self._next_claim()
            if claim is not None:
                holding = self._holdings.take(claim, claim_seconds=self._claim_seconds)
                if self._stopping.is_set():
                    return  # the stop came during the claim; the drain hands it back
                self._take_on(holding)
            if pause > 0:
                await (self._listen(pause) if self._idle else self._wait(pause))

    async def _next_claim(self) -> tuple[Claim | None, float]:
        """The next job, if there is one, and how many seconds to wait before asking again."""
        self._hurried.clear()
        self._idle = False
        alike = self._handler.card.wanted
        try:
            if self._holdings.answer_lost:
                await self._holdings.look_up()
            if not self._more_wait and not await self._look():
                return None, self._nothing()
            sent_at = self._lease.now()
            claim = await self._claim(alike)
        except QuotaExceeded as error:
            structlog.get_logger().error("redis_quota_exceeded", problem=str(error), pause_seconds=QUOTA_PAUSE)
            return None, QUOTA_PAUSE
        except BackendUnavailable as error:
            # The answer to a claim may be lost while the claim was done: look into the held list first.
            self._holdings.answer_lost = True
            pause = self._patience.after_outage()
            structlog.get_logger().warning("queue_unavailable", problem=str(error), pause_seconds=pause)
            return None, pause
        except BackendRefused as error:
            raise ConfigurationError(str(error)) from error
        self._lease.confirm(sent_at)
        self._patience.answered()
        if claim is not None:
            return claim, self._after(claim)
        if alike is not None:
            self._handler.card.close_line()  # what waits next is of another type
            return None, 0.0
        self._more_wait = False
        return None, self._nothing()

    async def _claim(self, alike: str | None) -> Claim | None:
        begun, queue = time.monotonic(), self._queue.name
        with exchanges.claim(queue):
            claim = await self._queue.claim(alike=alike)
        self._claim_seconds = time.monotonic() - begun
        exchanges.claimed(queue, job=claim is not None)
        return claim

    async def _look(self) -> int:
        waiting = await self._queue.length()
        self._heard_of(waiting)
        return waiting

    def _heard_of(self, waiting: int) -> None:
        self._more_wait = waiting > 0
        metrics.series(metrics.QUEUE_LENGTH, self._queue.name).set(waiting)
        self._announcer.announce(Message("poll", waiting=waiting))

    def _after(self, claim: Claim) -> float:
        """Seconds to wait after a claim: none where it told of more jobs, or could not tell."""
        self._patience.worked()
        self._more_wait = False
        if claim.behind is None:
            return 0.0
        self._heard_of(claim.behind)
        return 0.0 if claim.behind else self._nothing()

    def _nothing(self) -> float:
        self._patience.answered()
        self._idle = True
        return self._patience.after_nothing()

    def _take_on(self, holding: Holding) -> None:
        if not self._jobs:
            self._say(WorkerState.BUSY)
        job = asyncio.create_task(self._see_to(holding))
        self._jobs.add(job)
        job.add_done_callback(self._left_the_card)

    def _left_the_card(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        self._changed.set()
        if self._jobs:
            return
        if not self._stopping.is_set() and not self._full:
            self._say(WorkerState.READY)
        if self._idle:
            self._hurried.set()  # the next poll comes at once after a job (contract section 1)

    async def _see_to(self, holding: Holding) -> None:
        structlog.contextvars.bind_contextvars(queue=holding.claim.queue)
        try:
            ending = await self._handler.work_on(holding)
        except Fenced as fenced:
            tracing.end_job(fenced)
            self._cut_off_by(fenced)
        except Exception as error:  # noqa: BLE001 - raised once everything is handed back
            tracing.end_job(error)
            self._give_up(error)
        else:
            self._begin(holding, ending)

    def _begin(self, holding: Holding, ending: Ending) -> None:
        task = asyncio.create_task(self._end(holding, ending))
        self._endings[task] = holding
        task.add_done_callback(self._ended)

    def _ended(self, ending: asyncio.Task[None]) -> None:
        del self._endings[ending]
        self._changed.set()

    async def _end(self, holding: Holding, ending: Ending) -> None:
        try:
            await self._run_ending(holding, ending)
        except (Retry, BackendRefused) as error:
            # The last word may or may not have been heard; the look-up into the held list finds out.
            structlog.get_logger().warning("ending_unconfirmed", problem=str(error))
        except Restart as error:
            self._give_up(error)
        except Fenced as fenced:
            self._cut_off_by(fenced)
        finally:
            tracing.end_job()

    async def _run_ending(self, holding: Holding, ending: Ending) -> None:
        try:
            await ending()
        except (Retry, BackendRefused, Restart):
            raise
        except Exception:  # noqa: BLE001 - a bug in one ending may not cost the worker its other jobs
            structlog.get_logger().exception("ending_failed")
            await self._holdings.requeue(holding, "the delivery failed with an internal error", charged=True)

    def _give_up(self, error: Exception) -> None:
        """Nothing that this process could do would be accepted: stop at once, and end with the reason."""
        self._fatal = self._fatal or error
        self._say(WorkerState.FAILED, str(error))
        self._halt()
        self._handler.interrupt(Drained(str(error)))

    def _cut_off_by(self, fenced: Fenced) -> None:
        self._fenced = self._fenced or fenced
        self._cut_off.set()

    def _halt(self) -> None:
        self._stopping.set()
        self._changed.set()
        self._hurried.set()

    async def _may_claim(self) -> bool:
        """Wait for room for another job; False when none may be taken any more."""
        while not self._has_room() and not self._stopping.is_set():
            self._changed.clear()
            await self._changed.wait()
        while not self._stopping.is_set() and (problem := self._shortage()):
            if not self._full:
                structlog.get_logger().error("spool_full", problem=problem)
                self._say(WorkerState.FAILED, problem)
            self._full = True
            metrics.series(metrics.SPOOL_FULL, self._queue.name).set(1)
            await self._wait(max(self._patience.poll_seconds, SHORTAGE_PAUSE))
        if self._full and not self._stopping.is_set():
            self._full = False
            metrics.series(metrics.SPOOL_FULL, self._queue.name).set(0)
            structlog.get_logger().info("spool_recovered")
            self._say(WorkerState.BUSY if self._jobs else WorkerState.READY)
        return not self._stopping.is_set()

    def _has_room(self) -> bool:
        """Whether one more may be claimed: nobody waits for the card, or only some whose batch it may share."""
        card = self._handler.card
        if len(self._jobs) > card.served or sum(holding.share for holding in self._endings.values()) > MAX_ENDINGS:
            return False
        return not card.waiting or (self._more_wait and card.wanted is not None)

    async def _listen(self, seconds: float) -> None:
        """Until a job may have come, as far as the queue can tell that, or until there is a hurry."""
        waiting = [asyncio.create_task(self._queue.wait(seconds)), asyncio.create_task(self._hurried.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self._calm_down()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), seconds)
        self._calm_down()

    def _calm_down(self) -> None:
        if not self._stopping.is_set():
            self._hurried.clear()

    async def _fence(self, working: asyncio.Task[None], fenced: Fenced) -> None:
        """Stop at once and deliver nothing: others may have the jobs by now."""
        structlog.get_logger().error("fenced", problem=str(fenced), held=len(self._holdings))
        self._announcer.announce(Message("fenced", reason=str(fenced)))
        self._say(WorkerState.FAILED, str(fenced))
        self._fenced = self._fenced or fenced
        self._halt()
        for task in self._endings:
            task.cancel()
        self._handler.interrupt(fenced)
        # A step that never ends is left behind: the process ends under it.
        await asyncio.wait({working}, timeout=FENCE_PATIENCE)
        unfinished = [working, *self._jobs, *self._endings]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    async def _drain(self) -> None:
        """Let the card and the deliveries come to their end, then hand back what is still held."""
        if self._jobs:
            await asyncio.wait(self._jobs)
        if self._fenced is not None:
            raise self._fenced
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

"""One worker whose models stay warm, and the jobs that are handed to it, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog

from ourvidz_worker.backend.handed_queue import Handed, HandedQueue
from ourvidz_worker.cli.process import exit_code_of
from ourvidz_worker.cli.serverless.answers import Answer, Outcome, answer_of
from ourvidz_worker.cli.wiring import BuiltWorker
from ourvidz_worker.contract.callback import Callback, CallbackProfile
from ourvidz_worker.control import Message, WorkerState
from ourvidz_worker.errors import Fenced, GenerationFailed, WorkerError
from ourvidz_worker.runtime.courier import failure

Tell = Callable[[dict[str, Any]], None]
"""Is told how far a job is: its phase, and the step of how many. Raises nothing."""

TELL_SECONDS = 2.0  # each word costs a request of its own
CANCEL_SECONDS = 30.0  # a step, and the report of the end
LAST_REPORT_SECONDS = 30.0
ENDED = "the worker has ended, run the job again"


class Ear:
    """An announcer that hears what a worker says, in whatever thread it says it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.heard: Callable[[Message], None] = lambda _message: None

    def announce(self, message: Message) -> None:
        self._loop.call_soon_threadsafe(self.heard, message)


class WarmWorker:
    """Everything here runs in the event loop of the worker."""

    def __init__(
        self,
        built: BuiltWorker,
        queue: HandedQueue,
        ear: Ear,
        *,
        profile: CallbackProfile,
        shortage: Callable[[], str | None],
    ) -> None:
        self._built = built
        self._queue = queue
        self._profile = profile
        self._shortage = shortage
        self._turn = asyncio.Lock()
        self._ready = asyncio.Event()
        self._working: asyncio.Task[int] | None = None
        self._report: Callback | None = None
        self._started: Message | None = None
        self._status: str | None = None
        self._progress = _Progress(lambda _words: None)
        ear.heard = self._hear
        built.courier.on_report = self._keep

    async def open(self) -> int | None:
        """Load the models; the exit code where that is the end of it, None when jobs may come."""
        self._built.courier.resume()
        self._working = asyncio.create_task(exit_code_of(self._built.worker.run()))
        self._working.add_done_callback(lambda _ended: self._queue.end(ENDED))
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._working}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        return self._working.result() if self._gone else None

    def stop(self) -> None:
        """Take no more jobs; the running one may finish in the grace period."""
        self._built.worker.stop()

    async def close(self) -> int:
        """Stop at once, and return the exit code."""
        assert self._working is not None
        self._built.worker.stop(at_once=True)
        code = await self._working
        await self._built.close()
        return code

    async def run(self, element: str, tell: Tell) -> Answer:
        """Work on a job to its end. Whoever is cancelled stops the job, too, at its next step."""
        async with self._turn:
            if (problem := self._shortage()) is not None:
                return {"error": problem}
            self._report = self._started = self._status = None
            self._progress = _Progress(tell)
            handed = self._queue.hand(element)
            try:
                await asyncio.wait({handed.left})
            except asyncio.CancelledError:
                await self._cancel(handed)
                raise
            finally:
                self._progress = _Progress(lambda _words: None)
            return await self._answer(handed)

    @property
    def _gone(self) -> bool:
        return self._working is not None and self._working.done()

    async def _cancel(self, handed: Handed) -> None:
        structlog.get_logger().info("job_stopped_by_runpod", job_id=self._started and self._started.job_id)
        self._queue.withdraw(handed)
        if self._started is not None and self._started.job_id is not None:
            self._built.worker.cancel([self._started.job_id])
        await asyncio.wait({handed.left}, timeout=CANCEL_SECONDS)

    async def _answer(self, handed: Handed) -> Answer:
        leaving = await handed.left
        if leaving.way == "handed back":
            await self._report_handed_back(leaving.reason)
        outcome = Outcome(leaving, self._report, self._status, gone=self._gone)
        return answer_of(outcome, self._profile)

    async def _report_handed_back(self, reason: str) -> None:
        """No queue has the job any more, so the product would wait for it in vain."""
        started = self._started
        if started is None or started.job_id is None:
            return
        callback = failure(started.job_id, GenerationFailed(reason), attempt=started.attempt or 1)
        try:
            async with asyncio.timeout(LAST_REPORT_SECONDS):
                await self._built.courier.report(callback)
        except (WorkerError, Fenced, TimeoutError) as error:
            problem = str(error) or "it took too long"
            structlog.get_logger().warning("last_report_failed", job_id=started.job_id, problem=problem)

    def _keep(self, callback: Callback) -> None:
        self._report = callback

    def _hear(self, message: Message) -> None:
        match message.kind:
            case "state" if message.state is WorkerState.READY:
                self._ready.set()
            case "started":
                self._started = message
            case "done":
                self._status = message.status
            case "phase" | "step":
                self._progress.heard(message)


class _Progress:
    """Passes each phase on, and of its steps as many as are worth a request."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._phase: str | None = None
        self._told_at = float("-inf")

    def heard(self, message: Message) -> None:
        now = time.monotonic()
        if message.kind == "phase":
            self._phase = message.phase
        elif now - self._told_at < TELL_SECONDS:
            return
        self._told_at = now
        words = {"phase": self._phase, "step": message.step, "steps": message.steps}
        self._tell({name: word for name, word in words.items() if word is not None})

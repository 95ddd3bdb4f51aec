"""An event loop without files and without a clock of its own: somebody else says how late it is and when it may run."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

_CLOSINGS = 50  # a coroutine may await again in each of its `finally` blocks


class SteppedLoop(asyncio.BaseEventLoop):
    """The loop of one process of the model.

    It does one round of work per `step`. Not stepped, it is a process that is stopped or dead: nothing of it runs,
    neither `finally` blocks nor, because its tasks are kept here, finalisers.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int
    _run_once: Callable[[], None]

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._selector = _NoFiles()
        self._unfinished: dict[asyncio.Task[Any], Coroutine[Any, Any, Any]] = {}
        self.set_task_factory(self._remembered)  # type: ignore[arg-type]  # the protocol is private

    def time(self) -> float:
        return self._clock()

    def is_idle(self) -> bool:
        """Whether it only waits, for a time or for an answer."""
        return not self._ready

    def due(self) -> float | None:
        """When it wants to run next, which may be in the past; None when it waits for others."""
        if self._ready:
            return self._clock()
        while self._scheduled and self._scheduled[0].cancelled():
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False  # type: ignore[attr-defined]  # as the loop does
            self._timer_cancelled_count -= 1
        return self._scheduled[0].when() if self._scheduled else None

    def run_in_executor(  # type: ignore[override]  # less general than any executor
        self, _executor: Any, work: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        """The work of a thread is done at once, in the next round."""
        future = self.create_future()

        def run() -> None:
            try:
                result = work(*arguments)
            except Exception as error:  # noqa: BLE001 - as an executor
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_soon(run)
        return future

    def step(self) -> None:
        asyncio._set_running_loop(self)
        try:
            self._run_once()
        finally:
            asyncio._set_running_loop(None)

    def discard(self) -> None:
        """Close everything without a word, once nothing matters any more."""
        self.set_exception_handler(lambda _loop, _context: None)
        asyncio._set_running_loop(self)
        try:
            while self._unfinished:  # closing one may begin another
                task, coroutine = self._unfinished.popitem()
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant
                _close(coroutine)
        finally:
            asyncio._set_running_loop(None)
            self.close()

    def _remembered(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=loop, **options)
        self._unfinished[task] = coroutine
        task.add_done_callback(lambda done: self._unfinished.pop(done, None))
        return task

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no files."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in `select`."""


def _close(coroutine: Coroutine[Any, Any, Any]) -> None:
    for _ in range(_CLOSINGS):
        with contextlib.suppress(BaseException):
            coroutine.close()
            return


class _NoFiles:
    def select(self, _timeout: float | None) -> list[Any]:
        return []

"""Starts the workers one after another, keeps them alive, says how they are, and stops them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from ourvidz_worker.control import ExitCode
from ourvidz_worker.supervisor.child import Child, ChildState
from ourvidz_worker.supervisor.status import Status

_WRITE_INTERVAL = 0.1


class Orchestrator:
    """Supervises until stopped, or until no worker is left that could be restarted."""

    def __init__(self, *, status_interval: float, status_file: Path | None) -> None:
        self._status_interval = status_interval
        self._status = Status(status_file)
        self._children: Sequence[Child] = ()
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def status(self) -> Status:
        return self._status

    def changed(self) -> None:
        """Something about a child is new."""
        self._news.set()

    def stop(self) -> None:
        structlog.get_logger().info("orchestrator_stopping")
        self._stopping.set()
        for child in self._children:
            child.stop()

    async def run(self, children: Sequence[Child]) -> int:
        """Returns the exit code: not 0 when every worker was given up."""
        self._children = children
        status = self._status
        status.of(children)
        background = [
            asyncio.create_task(self._log_regularly(status)),
            asyncio.create_task(self._write_on_news(status)),
        ]
        running = []
        for child in children:
            if self._stopping.is_set():
                break
            running.append(asyncio.create_task(child.run()))
            # Two models that load at once would fight for the same disk and memory.
            await child.settled.wait()
        await asyncio.gather(*running)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        status.write()
        return self._exit_code()

    def _exit_code(self) -> int:
        given_up = [child for child in self._children if child.state is ChildState.FATAL]
        if not given_up or len(given_up) < len(self._children):
            return ExitCode.OK
        structlog.get_logger().error("no_worker_left", problems={c.spec.name: c.problem for c in given_up})
        return ExitCode.INTERNAL

    async def _log_regularly(self, status: Status) -> None:
        while True:
            await asyncio.sleep(self._status_interval)
            status.log()

    async def _write_on_news(self, status: Status) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            status.write()
            await asyncio.sleep(_WRITE_INTERVAL)

"""One supervised worker process: started, listened to, restarted, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

from ourvidz_worker.control import CONTROL_FD_VARIABLE, OWNER_VARIABLE, ExitCode, WorkerState, decode_message
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.supervisor.restarts import RestartPolicy, Verdict
from ourvidz_worker.supervisor.worker_view import WorkerView

Release = Callable[[str, str], Awaitable[int]]
"""Hands back what an owner (first argument) known to be dead holds, with the reason; returns how many jobs."""


class ChildState(StrEnum):
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    FATAL = "FATAL"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to start one worker: its name, its command line, and variables over the supervisor's environment."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]


class Child:
    """Runs one process at a time, again and again, until stopped or given up."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        policy: RestartPolicy,
        new_owner: Callable[[], str],
        release: Release,
        changed: Callable[[], None],
        stop_seconds: float,
    ) -> None:
        self.spec = spec
        self.view = WorkerView()
        self.state = ChildState.STARTING
        self.problem: str | None = None
        self.pid: int | None = None
        self.restarts = 0
        self.settled = asyncio.Event()  # ready for the first time, or never going to be
        self._policy = policy
        self._new_owner = new_owner
        self._release = release
        self._changed = changed
        self._stop_seconds = stop_seconds
        self._stopping = asyncio.Event()
        self._ready_at: float | None = None

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Supervise until stopped or given up; the last state says which."""
        log = structlog.get_logger().bind(worker=self.spec.name)
        while not self._stopping.is_set():
            owner = self._new_owner()
            exit_code = await self._run_once(owner)
            await self._release_jobs(owner, exit_code)
            if self._stopping.is_set():
                break
            verdict = self._decide(exit_code)
            if verdict.gives_up:
                self._become(ChildState.FATAL, verdict.reason)
                log.error("worker_given_up", exit_code=exit_code, reason=verdict.reason)
                self.settled.set()
                return
            self._become(ChildState.BACKOFF, f"ended with exit code {exit_code}")
            log.warning("worker_ended", exit_code=exit_code, restart_in_seconds=verdict.delay)
            await self._wait(verdict.delay)
            self.restarts += 1
        self._become(ChildState.STOPPED)
        self.settled.set()

    def _decide(self, exit_code: int) -> Verdict:
        ready_seconds = 0.0 if self._ready_at is None else time.monotonic() - self._ready_at
        return self._policy.ended(exit_code, ready_seconds=ready_seconds)

    async def _run_once(self, owner: str) -> int:
        self._ready_at = None
        self.view.restarted()
        self._become(ChildState.STARTING)
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                env={
                    **os.environ,
                    **self.spec.environment,
                    CONTROL_FD_VARIABLE: str(theirs.fileno()),
                    OWNER_VARIABLE: owner,
                },
                pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            ours.close()
            structlog.get_logger().error("worker_not_started", worker=self.spec.name, problem=str(error))
            return ExitCode.INTERNAL
        finally:
            theirs.close()
        self.pid = process.pid
        structlog.get_logger().info("worker_started", worker=self.spec.name, pid=process.pid, owner=owner)
        listening = asyncio.create_task(self._listen(ours))
        ending = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ending.done():
            await self._terminate(process, ending)
        self.pid = None
        await listening  # the socket ends with the process, after its last words
        return ending.result()

    async def _terminate(self, process: asyncio.subprocess.Process, ending: asyncio.Task[int]) -> None:
        self._become(ChildState.STOPPING)
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            process.send_signal(signal.SIGTERM)
        _, late = await asyncio.wait({ending}, timeout=self._stop_seconds)
        if late:
            structlog.get_logger().error("worker_killed", worker=self.spec.name, pid=process.pid)
            process.kill()
            await ending

    async def _listen(self, ours: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            while not reader.at_eof():
                await self._hear(reader)
        except ConnectionError:
            pass  # the process died between two words
        finally:
            writer.close()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        try:
            line = await reader.readline()
            if not line:
                return
            message = decode_message(line)
        except ValueError as error:  # not a message, or a line longer than any message
            structlog.get_logger().warning("control_message_unreadable", worker=self.spec.name, problem=str(error))
            return
        self.view.heard(message)
        if message.state is WorkerState.READY and self._ready_at is None:
            self._ready_at = time.monotonic()
            self._become(ChildState.RUNNING)
            self.settled.set()
        self._changed()

    async def _release_jobs(self, owner: str, exit_code: int) -> None:
        """The end of the process is proof that nobody works on what it held."""
        try:
            jobs = await self._release(owner, f"the {self.spec.name} worker ended with exit code {exit_code}")
        except WorkerError as error:
            # Not lost: the lease lapses and a reaper hands the jobs back.
            structlog.get_logger().warning("release_failed", worker=self.spec.name, problem=str(error))
            return
        if jobs:
            structlog.get_logger().warning("jobs_released", worker=self.spec.name, jobs=jobs)

    def _become(self, state: ChildState, problem: str | None = None) -> None:
        self.state = state
        self.problem = problem
        self._changed()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

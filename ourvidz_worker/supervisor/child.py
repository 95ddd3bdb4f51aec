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

from ourvidz_worker.control import (
    CONTROL_FD_VARIABLE,
    OWNER_VARIABLE,
    ExitCode,
    Health,
    Instruction,
    Message,
    WorkerState,
    decode_message,
    encode_instruction,
)
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.instruments import metrics
from ourvidz_worker.supervisor.broker import Broker
from ourvidz_worker.supervisor.exits import how_it_ended, kind_of_end
from ourvidz_worker.supervisor.restarts import RestartPolicy
from ourvidz_worker.supervisor.watch import Hang, Limits, Watch
from ourvidz_worker.supervisor.worker_view import WorkerView

HANG_GRACE = 10.0  # seconds in which a worker that hangs in one thread may still deliver in another
_LAST_WORDS_SECONDS = 1.0

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
    """How to start one worker: its name, its command line, and variables over the supervisor's environment.

    `kind` and `device` are for people: what it does, and on which card.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    kind: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a process: what happened to it, as the predicate of a sentence, and how long it was healthy."""

    exit_code: int
    reason: str
    healthy_seconds: float = 0.0
    hung: bool = False

    @property
    def kind(self) -> str:
        return "hang" if self.hung else kind_of_end(self.exit_code)


class Child:
    """Runs one process at a time, again and again, until stopped or given up."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        policy: RestartPolicy,
        limits: Limits,
        new_owner: Callable[[], str],
        release: Release,
        changed: Callable[[], None],
        stop_seconds: float,
        hang_seconds: float = HANG_GRACE,
        broker: Broker | None = None,
    ) -> None:
        self.spec = spec
        self.view = WorkerView()
        self.state = ChildState.STARTING
        self.problem: str | None = None
        self.pid: int | None = None
        self.restarts = 0
        self.settled = asyncio.Event()  # ready for the first time, or never going to be
        self._policy = policy
        self._limits = limits
        self._watch = Watch(limits)
        self._new_owner = new_owner
        self._release = release
        self._changed = changed
        self._stop_seconds = stop_seconds
        self._hang_seconds = hang_seconds
        self._broker = broker or Broker(None)
        self._stopping = asyncio.Event()
        self._ready_at: float | None = None

    def stop(self) -> None:
        self._stopping.set()

    def health(self) -> Health:
        """As the worker says, unless its process is at its end or between two lives."""
        problem = self.problem or self.view.problem
        match self.state:
            case ChildState.FATAL:
                return Health(WorkerState.FAILED, problem, beyond_help=True)
            case ChildState.BACKOFF:
                return Health(WorkerState.FAILED, problem)
            case ChildState.STOPPING | ChildState.STOPPED:
                return Health(WorkerState.DRAINING, problem)
        return Health(self.view.state, problem)

    def measure(self) -> None:
        """Bring the gauges about this worker up to date."""
        name = self.spec.name
        metrics.show_state(metrics.SUPERVISED_STATE, name, self.health().state)
        metrics.show_state(metrics.PROCESS_STATE, name, self.state)
        metrics.series(metrics.RESTARTS, name)  # 0 until the first
        metrics.series(metrics.GPU_GRANTED_BYTES, name).set(self._broker.used.get(name, 0))

    async def run(self) -> None:
        """Supervise until stopped or given up; the last state says which."""
        log = structlog.get_logger().bind(worker=self.spec.name)
        while not self._stopping.is_set():
            owner = self._new_owner()
            death = await self._live(owner)
            await self._release_jobs(owner, death)
            if self._stopping.is_set():
                break
            metrics.series(metrics.EXITS, self.spec.name, death.kind).inc()
            verdict = self._policy.ended(death.exit_code, healthy_seconds=death.healthy_seconds)
            if verdict.gives_up:
                self._become(ChildState.FATAL, verdict.reason)
                log.error("worker_given_up", exit_code=death.exit_code, reason=verdict.reason, last_end=death.reason)
                self.settled.set()
                return
            self._become(ChildState.BACKOFF, death.reason)
            log.warning(
                "worker_ended", exit_code=death.exit_code, reason=death.reason, restart_in_seconds=verdict.delay
            )
            await self._wait(verdict.delay)
            self.restarts += 1
            metrics.series(metrics.RESTARTS, self.spec.name).inc()
        self._become(ChildState.STOPPED)
        self.settled.set()

    async def _live(self, owner: str) -> Death:
        self._ready_at = None
        self._watch = Watch(self._limits)
        self.view.restarted()
        self._become(ChildState.STARTING)
        try:
            process, ours = await self._start(owner)
        except OSError as error:
            structlog.get_logger().error("worker_not_started", worker=self.spec.name, problem=str(error))
            return Death(ExitCode.INTERNAL, f"could not be started: {error}")
        self.pid = process.pid
        structlog.get_logger().info(
            "worker_started",
            worker=self.spec.name,
            kind=self.spec.kind,
            device=self.spec.device,
            pid=process.pid,
            owner=owner,
        )
        listening = asyncio.create_task(self._listen(ours))
        ending = asyncio.create_task(process.wait())
        hang = await self._until_it_should_end(ending)
        healthy_seconds = self._healthy_seconds(hang)
        reason = how_it_ended(ending.result()) if ending.done() else await self._terminate(process, ending, hang)
        self.pid = None
        await self._hear_last_words(listening)
        return Death(ending.result(), reason, healthy_seconds, hung=hang is not None)

    async def _start(self, owner: str) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """The process and our end of its control line."""
        ours, theirs = socket.socketpair()
        with theirs:
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
            except BaseException:
                ours.close()
                raise
        return process, ours

    async def _until_it_should_end(self, ending: asyncio.Task[int]) -> Hang | None:
        """Return when the process ended, when it is to be stopped, or when it hangs."""
        stopping = asyncio.create_task(self._stopping.wait())
        watching = asyncio.create_task(self._until_it_hangs())
        await asyncio.wait({ending, stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        watching.cancel()
        return watching.result() if watching.done() and not ending.done() else None

    async def _until_it_hangs(self) -> Hang:
        while True:
            await asyncio.sleep(self._watch.interval)
            hang = self._watch.look()
            if hang is not None:
                return hang

    async def _terminate(
        self, process: asyncio.subprocess.Process, ending: asyncio.Task[int], hang: Hang | None
    ) -> str:
        """Have the process end, by force in the end; returns what happened to it."""
        log = structlog.get_logger().bind(worker=self.spec.name, pid=process.pid)
        cause, seconds = (hang.reason, self._hang_seconds) if hang else (None, self._stop_seconds)
        if hang:
            log.error("worker_hangs", reason=hang.reason)
        self._become(ChildState.STOPPING, cause)
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            process.send_signal(signal.SIGTERM)
        _, late = await asyncio.wait({ending}, timeout=seconds)
        if late:
            log.error("worker_killed", after_seconds=seconds)
            process.kill()
            await ending
            cause = cause or f"it had not stopped within {seconds:g} s"
        return how_it_ended(ending.result()) + (f" after {cause}" if cause else "")

    def _healthy_seconds(self, hang: Hang | None) -> float:
        """How long it was ready and did not hang."""
        if self._ready_at is None:
            return 0.0
        return max(0.0, time.monotonic() - self._ready_at - (hang.seconds if hang else 0.0))

    async def _hear_last_words(self, listening: asyncio.Task[None]) -> None:
        """What the process said before its end lies in the socket, which ends with it unless a child of it lives on."""
        _, late = await asyncio.wait({listening}, timeout=_LAST_WORDS_SECONDS)
        if not late:
            listening.result()
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _listen(self, ours: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=ours)

        def tell(instruction: Instruction) -> None:
            writer.write(encode_instruction(instruction))

        self._broker.joined(self.spec.name, tell)
        try:
            while not reader.at_eof():
                await self._hear(reader)
        except ConnectionError:
            pass  # the process died between two words
        finally:
            writer.close()
            self._broker.left(self.spec.name)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        try:
            line = await reader.readline()
            if not line:
                return
            message = decode_message(line)
        except ValueError as error:  # not a message, or a line longer than any message
            structlog.get_logger().warning("control_message_unreadable", worker=self.spec.name, problem=str(error))
            return
        self._heed(message)

    def _heed(self, message: Message) -> None:
        self._watch.heard(message)
        metrics.series(metrics.LAST_HEARD, self.spec.name).set_to_current_time()
        if message.kind == "alive":
            return
        self.view.heard(message)
        self._broker.heard(self.spec.name, message)
        if message.state in (WorkerState.READY, WorkerState.BUSY) and self._ready_at is None:
            self._ready_at = time.monotonic()
            self._become(ChildState.RUNNING)
            self.settled.set()
        self._changed()

    async def _release_jobs(self, owner: str, death: Death) -> None:
        """The end of the process is proof that nobody works on what it held."""
        try:
            jobs = await self._release(owner, f"the {self.spec.name} worker {death.reason}")
        except WorkerError as error:
            # Not lost: the lease lapses and a reaper hands the jobs back.
            structlog.get_logger().warning("release_failed", worker=self.spec.name, problem=str(error))
            return
        if jobs:
            metrics.series(metrics.RELEASED_JOBS, self.spec.name).inc(jobs)
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

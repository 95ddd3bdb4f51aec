"""Pods: real orchestrators with real workers, their logs read as they come, to be killed, paused and replaced."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.commands import ROOT, clean_environment

RESTART_SECONDS = 0.2
ORCHESTRATOR = (sys.executable, "orchestrator.py")


@dataclass(slots=True)
class Process:
    """A worker or an orchestrator that was started; times are seconds since the epoch, `pauses` (from, to).

    `machine` is the pod and which of its machines; all processes of a machine share a disk.
    """

    pid: int
    machine: str
    role: str
    owner: str
    started_at: float
    killed_at: float | None = None
    pauses: list[tuple[float, float]] = field(default_factory=list)
    paused_since: float | None = None
    gone: bool = False

    @property
    def is_worker(self) -> bool:
        return self.role != "orchestrator"


class LogFile:
    """The JSON lines of a growing file, each read once; other lines are kept in `stray`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.stray: list[str] = []

    def new_events(self) -> Iterator[dict[str, Any]]:
        """Events since the last call, each with `at`, its time in seconds since the epoch."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.decode("utf-8", "replace").split("\n") if whole else ():
            try:
                event = json.loads(line)
                event["at"] = datetime.fromisoformat(event["timestamp"]).timestamp()
            except (ValueError, KeyError, TypeError):
                self.stray.append(line)
            else:
                yield event


class Pod:
    """One machine: an orchestrator that is started again whenever it ends, a spool, and a log of everything."""

    def __init__(
        self, name: str, folder: Path, environment: Mapping[str, str], *, command: Sequence[str] = ORCHESTRATOR
    ) -> None:
        self.name = name
        self.folder = folder
        self.processes: dict[int, Process] = {}
        self.events: list[dict[str, Any]] = []
        self.exit_codes: list[int] = []
        self.log = folder / "pod.log"
        self.spool = folder / "spool"
        self._machines = 1
        self._ended_at: float | None = None
        self._latest: dict[str, str] = {}
        self._environment = environment
        self._command = command
        self._orchestrator: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self.log.touch()
        (folder / "tmp").mkdir()
        self.log_file = LogFile(self.log)

    @property
    def orchestrator(self) -> Process | None:
        """The one that runs now."""
        if self._orchestrator is None or self._orchestrator.poll() is not None:
            return None
        return self.processes[self._orchestrator.pid]

    @property
    def workers(self) -> list[Process]:
        """The workers that are alive, paused or not."""
        return [process for process in self.processes.values() if process.is_worker and self._alive(process)]

    @property
    def ready(self) -> bool:
        """Whether both workers have loaded their models, as far as the log was read."""
        return [event["event"] for event in self.events].count("models_loaded") >= 2

    @property
    def machine(self) -> str:
        """The pod's id; it changes when the machine is replaced."""
        return f"{self.name}{self._machines}"

    def start(self) -> None:
        self._ended_at = None
        environment = {
            **self._environment,
            "RUNPOD_POD_ID": self.machine,
            "OURVIDZ_SPOOL": str(self.spool),
            "OURVIDZ_STATUS_FILE": str(self.folder / "status.json"),
            "TMPDIR": str(self.folder / "tmp"),
        }
        with self.log.open("ab") as log:
            self._orchestrator = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=clean_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        pid = self._orchestrator.pid
        self.processes[pid] = Process(pid, self.machine, "orchestrator", self.machine, time.time())

    def restart_if_ended(self) -> None:
        """What the start script of a pod does, a moment later."""
        assert self._orchestrator
        if self._orchestrator.poll() is None:
            return
        if self._ended_at is None:
            self._ended_at = time.monotonic()
            self.exit_codes.append(self._orchestrator.returncode)
        elif time.monotonic() - self._ended_at > RESTART_SECONDS:
            self.start()

    def read_log(self) -> list[dict[str, Any]]:
        """New events; workers that they name are known from then on."""
        events = list(self.log_file.new_events())
        for event in events:
            event["pod"] = self.name
            if event["event"] == "worker_started":
                pid = event["pid"]
                self.processes[pid] = Process(pid, self.machine, event["worker"], event["owner"], event["at"])
                self._latest[event["worker"]] = event["owner"]
            # A worker's own lines may name no owner; then it is the latest of its kind on this pod.
            event.setdefault("owner", self._latest.get(event.get("worker", ""), ""))
        self.events += events
        return events

    def at_connection(self, port: int) -> Process | None:
        """The worker whose end of a connection to this machine has this port."""
        self.read_log()
        socket = _socket_at(port)
        return next((worker for worker in self.workers if socket in _open_files(worker.pid)), None)

    def acts(self, process: Process) -> bool:
        """Whether it is neither dead nor paused."""
        return process.paused_since is None and self._alive(process)

    def kill(self, process: Process) -> bool:
        """False when it had ended before."""
        if not self._signal(process, signal.SIGKILL):
            return False
        process.killed_at = time.time()
        if process.paused_since is not None:
            process.pauses.append((process.paused_since, process.killed_at))
            process.paused_since = None
        return True

    def terminate(self, process: Process) -> None:
        self._signal(process, signal.SIGTERM)

    def pause(self, process: Process) -> None:
        if self._signal(process, signal.SIGSTOP):
            process.paused_since = time.time()

    def resume(self, process: Process) -> None:
        if process.paused_since is not None:
            process.pauses.append((process.paused_since, time.time()))
            process.paused_since = None
            self._signal(process, signal.SIGCONT)

    def lose_machine(self) -> None:
        """Everything on it ends at once, its disk included; the next start is on another machine."""
        for process in (self.orchestrator, *self.workers):
            if process:
                self.kill(process)
        if self._orchestrator:
            self._orchestrator.wait()
        shutil.rmtree(self.spool, ignore_errors=True)
        self._machines += 1

    def stop(self, *, seconds: float = 180) -> int | None:
        """SIGTERM to the orchestrator; its exit code, None when it had to be killed."""
        if self._orchestrator is None:
            return None
        self._orchestrator.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._orchestrator.wait(seconds)
        return None

    def sweep(self) -> list[Process]:
        """Kill whatever is left of this pod, and say what that was."""
        self.read_log()
        left = [process for process in self.processes.values() if self._alive(process)]
        for process in left:
            self.kill(process)
        if self._orchestrator:
            self._orchestrator.wait()
        return left

    def _signal(self, process: Process, number: int) -> bool:
        if not self._alive(process):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
            return True
        return False

    def _alive(self, process: Process) -> bool:
        """Whether this very process runs: a number may have been given to a stranger meanwhile."""
        if process.killed_at is not None or process.gone:
            return False
        try:
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            process.gone = True
            return False
        process.gone = state == "Z" or f"OURVIDZ_SPOOL={self.spool}".encode() not in environment
        return not process.gone


def _socket_at(port: int) -> str:
    """How the local socket with this port is called among a process's open files, "" when there is none."""
    wanted = f":{port:04X}"
    with Path("/proc/net/tcp").open() as table:
        rows = (line.split() for line in table)
        return next((f"socket:[{row[9]}]" for row in rows if row[1].endswith(wanted) and row[9] != "0"), "")


def _open_files(pid: int) -> set[str]:
    try:
        return {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()  # it ended just now

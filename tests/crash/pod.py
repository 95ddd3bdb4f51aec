"""One machine to crash things on: its spool, and one orchestrator after another with an SDXL worker each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.commands import COMMAND_SECONDS, RunningCommand
from tests.support.waiting import wait_until

COMMAND = ["-m", "tests.support.troubled_orchestrator"]
QUICK = {
    "OURVIDZ_MODELS": "testcard",
    "OURVIDZ_WORKERS": "sdxl",
    "OURVIDZ_LEASE": "12",  # a third of it is what a busy machine may be late by before a worker takes it for lost
    "OURVIDZ_SDXL_POLL": "0.05",
    "OURVIDZ_SDXL_RESTART_DELAY": "0.1",
    "OURVIDZ_HEALTHY_AFTER": "0",  # so that no crash counts as one in a row
}


class Pod:
    """`events` is the log of all that ever ran here. Its worker's steps can be held, and are over at once otherwise."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.spool = folder / "spool"
        self._held = folder / "held"
        self._status_file = folder / "status.json"
        self._environment = {
            **environment,
            **QUICK,
            "OURVIDZ_SPOOL": str(self.spool),
            "OURVIDZ_STATUS_FILE": str(self._status_file),
            "HELD": str(self._held),
        }
        self._running: RunningCommand | None = None
        self._orphans: list[tuple[RunningCommand, int]] = []
        self._earlier: list[dict[str, Any]] = []

    @property
    def running(self) -> RunningCommand:
        assert self._running is not None
        return self._running

    @property
    def worker(self) -> int:
        """The process id of the newest worker."""
        return next(int(event["pid"]) for event in reversed(self.running.events) if event["event"] == "worker_started")

    @property
    def events(self) -> list[dict[str, Any]]:
        commands = [*(command for command, _ in self._orphans), *([self._running] if self._running else [])]
        return [*self._earlier, *(event for command in commands for event in command.events)]

    @property
    def ready(self) -> bool:
        """Whether the newest worker lives and has loaded its models."""
        if not _alive(self.worker):
            return False
        names = [event["event"] for event in self.running.events]
        return "models_loaded" in names[_last(names, "worker_started") :]

    def count(self, event: str, job_id: str) -> int:
        return sum(entry["event"] == event and entry.get("job_id") == job_id for entry in self.events)

    def start(self) -> None:
        """What the start script of a pod does; the workers of an orchestrator that was killed may still be ending."""
        self._running = RunningCommand(COMMAND, self._environment)
        self._running.__enter__()

    def wait_until_ready(self) -> None:
        self.running.wait_for("worker_started")
        wait_until(lambda: self.ready, "a worker with its models loaded", seconds=COMMAND_SECONDS)

    def run(self) -> None:
        """Have a worker ready."""
        if self._running is None:
            self.start()
        self.wait_until_ready()

    @contextlib.contextmanager
    def held_in_mid_step(self) -> Iterator[None]:
        """A generation that comes to its third step stays there until the block ends."""
        self._held.touch()
        try:
            yield
        finally:
            self._held.unlink()

    def kill_worker(self) -> None:
        """Return once it is gone; its orchestrator starts another one."""
        pid = self.worker
        os.kill(pid, signal.SIGKILL)
        _wait_for_end(pid)

    def kill_orchestrator(self) -> None:
        """Return once it is gone and another one is starting; its worker is to end by itself."""
        self._orphans.append((self.running, self.worker))
        assert self.running.stop(signal.SIGKILL) == -signal.SIGKILL
        self.start()

    def wait_until_orphaned(self) -> None:
        """Return once the worker whose orchestrator was killed last has noticed."""
        command, _ = self._orphans[-1]
        wait_until(lambda: command.saw("supervisor_gone"), "an orphaned worker noticing")

    def wait_for_orphans(self) -> None:
        """Return once every worker whose orchestrator was killed has ended, and all it logged is in `events`."""
        while self._orphans:
            command, worker = self._orphans[0]
            _wait_for_end(worker)
            self._leave(command)
            del self._orphans[0]

    @contextlib.contextmanager
    def stopped_worker(self) -> Iterator[None]:
        """Stop its execution to look at what it has done so far."""
        pid = self.worker
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: _state(pid) == "T", "the stop")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # it was killed meanwhile
                os.kill(pid, signal.SIGCONT)

    def files(self) -> list[str]:
        """The results that lie in the spool, as `results/<job id>/0.png`; what is looked after again is none."""
        files = [str(path.relative_to(self.spool)) for path in self.spool.rglob("*") if path.is_file()]
        return [file for file in files if not file.startswith("doubtful/")]

    def has(self, pattern: str) -> bool:
        """Whether such a file lies in the spool: `results/*<job id>*/0.png` is one in the making, too."""
        return any(self.spool.glob(pattern))

    def is_mid_step(self, job_id: str) -> bool:
        if not self._status_file.exists():
            return False
        workers = json.loads(self._status_file.read_text())["workers"].values()
        jobs = [job for worker in workers for job in worker["jobs"] if job["id"] == job_id]
        return any(0 < job["step"] < job["steps"] for job in jobs)

    def log(self) -> str:
        return "\n".join(map(json.dumps, self.events))

    def stop(self) -> None:
        """End everything that is left."""
        for command in [*(command for command, _ in self._orphans), *([self._running] if self._running else [])]:
            self._leave(command)
        self._orphans.clear()
        self._running = None

    def _leave(self, command: RunningCommand) -> None:
        command.__exit__(None, None, None)
        self._earlier += command.events


def _wait_for_end(pid: int) -> None:
    wait_until(lambda: not _alive(pid), f"the end of worker {pid}", seconds=COMMAND_SECONDS)


def _alive(pid: int) -> bool:
    return _state(pid) not in ("", "Z")


def _state(pid: int) -> str:
    """One letter as in proc(5), nothing where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _last(names: list[str], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)

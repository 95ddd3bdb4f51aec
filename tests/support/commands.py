"""The project's commands as a user starts them: real processes, real signals, their output and their log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
PAYLOADS = ROOT / "tests" / "payloads"
COMMAND_SECONDS = 180.0  # for what starts a process, however busy the machine
OURS = ("OURVIDZ_", "SUPABASE_", "UPSTASH_", "JOB_CALLBACK_")


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without the project's variables, and with those of the test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    cache = {name: os.environ[name] for name in ("OURVIDZ_CACHE",) if name in os.environ}
    return {**kept, **cache, "OURVIDZ_LOG_FORMAT": "json", "OURVIDZ_PROBE_PORT": "0", **extra}


def run_command(
    *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = COMMAND_SECONDS, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """`python -m ourvidz_worker …`, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ourvidz_worker", *arguments],
        env=clean_environment(environment or {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


class RunningCommand:
    """`with RunningCommand(...) as command:` runs until the block ends; its log lines are read meanwhile."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], *, program: str = sys.executable) -> None:
        self._argv = [program, *argv]
        self._environment = clean_environment(environment)
        self.lines: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._parsed = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    @property
    def events(self) -> list[dict[str, Any]]:
        """The structured log so far; each line is parsed once, for a test that waits looks again and again."""
        new = self.lines[self._parsed :]
        self._parsed += len(new)
        self._events += [json.loads(line) for line in new if line.startswith("{")]
        return self._events[:]

    def saw(self, event: str, **fields: Any) -> bool:
        wanted = {"event": event, **fields}
        return any(wanted.items() <= entry.items() for entry in self.events)

    def wait_for(self, event: str, **fields: Any) -> None:
        """Return once the log has this line; fails when it ends without."""

        def happened() -> bool:
            ended = not self._is_being_read()  # looked at first, for the last lines may come just now
            seen = self.saw(event, **fields)
            assert seen or not ended, self.log()
            return seen

        wait_until(happened, f"the log line {event}", seconds=COMMAND_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code; the log is whole only after the block."""
        self.process.send_signal(number)
        return self.process.wait(timeout=COMMAND_SECONDS)

    def log(self) -> str:
        """Its lines so far: a line is read a moment after it was written."""
        return "\n".join(list(self.lines))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv,
            env=self._environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="command-output")
        self._reader.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # The whole group: a test may have killed the orchestrator and left its workers behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self._reader is not None
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _is_being_read(self) -> bool:
        assert self._reader is not None
        return self._reader.is_alive()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

"""Several workers: one after another, told of in a file and a log line, stopped in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from ourvidz_worker.control import ExitCode
from ourvidz_worker.ports import GpuMemory
from ourvidz_worker.supervisor import status as status_module
from ourvidz_worker.supervisor.child import Child, ChildState
from ourvidz_worker.supervisor.gpu import Card
from ourvidz_worker.supervisor.orchestrator import Orchestrator
from tests.supervisor.stage import NEVER_READY, READY, child_of
from tests.support.stories import story
from tests.support.waiting import eventually

WAITS_FOR_GO = 'while not os.path.exists(os.environ["GO"]): time.sleep(0.01)\nready(); serve()'
FOREVER = 1000.0


@asynccontextmanager
async def orchestrated(
    *children: Child, orchestrator: Orchestrator | None = None
) -> AsyncIterator[tuple[Orchestrator, asyncio.Task[int]]]:
    orchestrator = orchestrator or Orchestrator(status_interval=FOREVER, status_file=None)
    running = asyncio.create_task(orchestrator.run(children))
    try:
        yield orchestrator, running
    finally:
        orchestrator.stop()
        await running


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


@story
async def test_the_second_worker_starts_only_once_the_first_is_ready(tmp_path: Path) -> None:
    """Two models that load at once would fight for the same disk and memory."""
    go = tmp_path / "go"
    first = child_of(WAITS_FOR_GO, name="sdxl", environment={"GO": str(go)})
    second = child_of(READY, name="wan")
    async with orchestrated(first, second) as (orchestrator, running):
        await eventually(lambda: first.pid, "the start of the first")
        assert second.pid is None
        go.touch()
        await second.settled.wait()
        assert (first.state, second.state) == (ChildState.RUNNING, ChildState.RUNNING)
        orchestrator.stop()
        assert await running == ExitCode.OK
    assert (first.state, second.state) == (ChildState.STOPPED, ChildState.STOPPED)


@story
async def test_the_second_worker_starts_when_the_first_is_given_up() -> None:
    first, second = child_of("sys.exit(1)", name="sdxl", limit=2), child_of(READY, name="wan")
    async with orchestrated(first, second) as (orchestrator, running):
        await second.settled.wait()
        assert (first.state, second.state) == (ChildState.FATAL, ChildState.RUNNING)
        orchestrator.stop()
        assert await running == ExitCode.OK, "one worker was still at work"


@story
async def test_the_second_worker_starts_when_the_first_was_ready_and_died() -> None:
    first = child_of("ready(); sys.exit(1)", name="sdxl", delay=FOREVER)
    second = child_of(READY, name="wan")
    async with orchestrated(first, second):
        await second.settled.wait()
        assert second.state is ChildState.RUNNING


@story
async def test_no_worker_left_is_a_failure_that_names_the_reasons() -> None:
    first = child_of(f"sys.exit({ExitCode.CONFIGURATION})", name="sdxl")
    second = child_of("sys.exit(1)", name="wan", limit=1)
    with structlog.testing.capture_logs() as logs:
        async with orchestrated(first, second) as (_, running):
            assert await running == ExitCode.INTERNAL
    problems = next(line["problems"] for line in logs if line["event"] == "no_worker_left")
    assert problems["wan"] == "it ended 1 times in a row"
    assert "configuration" in problems["sdxl"]


@story
async def test_a_stop_while_the_first_loads_never_starts_the_second() -> None:
    first, second = child_of(NEVER_READY, name="sdxl"), child_of(READY, name="wan")
    async with orchestrated(first, second) as (orchestrator, running):
        await eventually(lambda: first.pid, "the start of the first")
        orchestrator.stop()
        assert await running == ExitCode.OK
    assert first.state is ChildState.STOPPED
    assert second.pid is None


@story
async def test_a_stop_before_the_start_starts_nothing() -> None:
    child = child_of(READY)
    orchestrator = Orchestrator(status_interval=FOREVER, status_file=None)
    orchestrator.stop()
    assert await orchestrator.run([child]) == ExitCode.OK
    assert child.pid is None


@story
async def test_one_dying_worker_does_not_touch_the_other(tmp_path: Path) -> None:
    first = child_of(READY, name="sdxl")
    second = child_of(
        "life > 2 or sys.exit(1); ready(); serve()", name="wan", environment={"LIVES": str(tmp_path / "lives")}
    )
    async with orchestrated(first, second):
        await second.settled.wait()
        assert (first.restarts, second.restarts) == (0, 2)
        assert first.state is ChildState.RUNNING


@story
async def test_the_status_file_says_how_the_workers_are(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    orchestrator = Orchestrator(status_interval=FOREVER, status_file=file)
    script = (
        'ready(); say(kind="poll", waiting=3); say(kind="started", job_id="job-1", job_type="t", attempt=1); serve()'
    )
    child = child_of(script, changed=orchestrator.changed)
    async with orchestrated(child, orchestrator=orchestrator):
        await eventually(lambda: file.exists() and read(file)["workers"]["sdxl"]["jobs"], "the job in the file")
        status = read(file)
        worker = status["workers"]["sdxl"]
        assert status["uptime_seconds"] >= 0
        assert (worker["process"], worker["state"], worker["waiting"]) == ("RUNNING", "READY", 3)
        assert (worker["pid"], worker["restarts"], worker["problem"]) == (child.pid, 0, None)
        assert worker["jobs"][0]["id"] == "job-1"
    assert read(file)["workers"]["sdxl"]["process"] == "STOPPED", "the last state is written too"
    assert names_in(tmp_path) == ["status.json"], "no draft is left"


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ('say(kind="state", state="FAILED", reason="the disk is full")', "the disk is full"),
        ('say(kind="fenced", reason="the lease was lost")', "the lease was lost"),
    ],
    ids=["FAILED", "fenced"],
)
@story
async def test_the_status_file_tells_the_problem_of_a_running_worker(tmp_path: Path, word: str, problem: str) -> None:
    file = tmp_path / "status.json"
    orchestrator = Orchestrator(status_interval=FOREVER, status_file=file)
    child = child_of(f"ready(); {word}; serve()", changed=orchestrator.changed)
    async with orchestrated(child, orchestrator=orchestrator):
        await eventually(
            lambda: file.exists() and read(file)["workers"]["sdxl"]["problem"] == problem, "the problem in the file"
        )


@story
async def test_a_status_file_that_cannot_be_written_costs_no_worker(tmp_path: Path) -> None:
    orchestrator = Orchestrator(status_interval=FOREVER, status_file=tmp_path / "missing" / "status.json")
    child = child_of(READY, changed=orchestrator.changed)
    with structlog.testing.capture_logs() as logs:
        async with orchestrated(child, orchestrator=orchestrator) as (_, running):
            await child.settled.wait()
            orchestrator.stop()
            assert await running == ExitCode.OK
    assert "status_file_not_written" in [line["event"] for line in logs]


@story
async def test_the_status_line_tells_everything_an_operator_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uptime, jobs, queue lengths, GPU memory through NVML if there is one."""
    card = Card("cuda:0", "GPU-1", "A40", GpuMemory(12.345, 48.0))
    monkeypatch.setattr(status_module, "visible_cards", lambda: (card,))
    script = """
ready()
for status in ("completed", "completed", "failed"):
    say(kind="started", job_id="a"); say(kind="done", job_id="a", status=status)
say(kind="poll", waiting=3)
serve()
"""
    child = child_of(script)
    orchestrator = Orchestrator(status_interval=0.02, status_file=None)
    with structlog.testing.capture_logs() as logs:
        async with orchestrated(child, orchestrator=orchestrator):
            await eventually(lambda: child.view.waiting == 3, "the worker's messages")
            logs.clear()
            await eventually(lambda: [line for line in logs if line["event"] == "status"], "a status line")
    line = next(line for line in logs if line["event"] == "status")
    assert line["workers"] == {"sdxl": "RUNNING/READY"}
    assert line["jobs"] == {"completed": 2, "failed": 1}
    assert line["waiting"] == {"sdxl": 3}
    assert line["uptime_seconds"] >= 0
    assert (line["gpu_used_gb"], line["gpu_total_gb"]) == ({"cuda:0": 12.35}, {"cuda:0": 48.0})


@story
async def test_without_a_card_the_status_line_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "visible_cards", lambda: ())
    orchestrator = Orchestrator(status_interval=0.02, status_file=None)
    with structlog.testing.capture_logs() as logs:
        async with orchestrated(child_of(READY), orchestrator=orchestrator):
            await eventually(lambda: [line for line in logs if line["event"] == "status"], "a status line")
    line = next(line for line in logs if line["event"] == "status")
    assert (line["gpu_used_gb"], line["gpu_total_gb"]) == ({}, {})

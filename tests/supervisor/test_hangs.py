"""A worker that hangs gets SIGTERM, then SIGKILL; it is released and started again, and the reason is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import structlog

from ourvidz_worker.supervisor.child import Child, ChildState
from ourvidz_worker.supervisor.watch import Limits
from tests.supervisor.stage import Releases, child_of, supervised
from tests.support.stories import story
from tests.support.waiting import eventually

SHORT = 0.3
LONGER = 1.5  # for workers that are not silent: a busy machine may hold up their words
HEALTHY = "beat(); ready(); serve()"
STUCK = """
beat(); ready()
say(kind="state", state="BUSY")
say(kind="phase", job_id="job-1", phase="generating")
say(kind="step", job_id="job-1", step=3, steps=25)
serve()
"""


def once(script: str) -> str:
    """`script` in the first life, a healthy worker in the others."""
    return f"if life > 1:\n    {HEALTHY}\n" + script


def child_in(folder: Path, script: str, **options: Any) -> Child:
    return child_of(once(script), environment={"LIVES": str(folder / "lives")}, **options)


async def second_life(child: Child) -> None:
    await eventually(lambda: child.restarts and child.state is ChildState.RUNNING, "the second life")


@story
async def test_a_silent_worker_is_ended_and_started_again(tmp_path: Path) -> None:
    releases = Releases()
    child = child_in(tmp_path, "ready(); serve()", limits=Limits(silence=SHORT), releases=releases)
    with structlog.testing.capture_logs() as logs:
        async with supervised(child):
            await second_life(child)
    reason = "ended with exit code 0 after it was silent for 0.3 s"
    assert releases.calls[0] == ("sdxl-1", f"the sdxl worker {reason}")
    told = {line["event"]: line.get("reason") for line in logs}
    assert told["worker_hangs"] == "it was silent for 0.3 s"
    assert told["worker_ended"] == reason


@story
async def test_a_worker_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    releases = Releases()
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); serve()"
    child = child_in(tmp_path, stubborn, limits=Limits(silence=SHORT), releases=releases, hang_seconds=0.05)
    async with supervised(child):
        await second_life(child)
    assert releases.calls[0] == ("sdxl-1", "the sdxl worker was killed by SIGKILL after it was silent for 0.3 s")


@story
async def test_a_worker_that_is_paused_is_killed_and_released(tmp_path: Path) -> None:
    """SIGTERM does not reach a stopped process, SIGKILL does."""
    releases = Releases()
    child = child_in(tmp_path, HEALTHY, limits=Limits(silence=LONGER), releases=releases, hang_seconds=0.05)
    async with supervised(child):
        await child.settled.wait()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        await second_life(child)
    assert releases.calls[0] == ("sdxl-1", "the sdxl worker was killed by SIGKILL after it was silent for 1.5 s")


@story
async def test_a_stuck_step_is_ended_and_the_status_says_which(tmp_path: Path) -> None:
    releases = Releases()
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STUCK
    told: list[tuple[ChildState, str | None]] = []

    def tell() -> None:
        told.append((child.state, child.problem))

    child = child_in(tmp_path, stubborn, limits=Limits(step=SHORT), releases=releases, hang_seconds=0.05, changed=tell)
    hang = "it made no step for 0.3 s at step 3 of 25 of job job-1"
    async with supervised(child):
        await second_life(child)
    assert (ChildState.STOPPING, hang) in told
    assert (ChildState.RUNNING, None) in told[told.index((ChildState.STOPPING, hang)) :]
    assert releases.calls[0] == ("sdxl-1", f"the sdxl worker was killed by SIGKILL after {hang}")


@story
async def test_a_worker_that_does_not_become_ready_is_started_again(tmp_path: Path) -> None:
    releases = Releases()
    child = child_in(tmp_path, "beat(); serve()", limits=Limits(load=SHORT), releases=releases)
    async with supervised(child):
        await second_life(child)
    assert releases.calls[0][1].endswith("after it had not loaded its models within 0.3 s")


@story
async def test_a_worker_that_keeps_talking_is_left_alone() -> None:
    script = """
ready()
for _ in range(40):
    say(kind="alive"); time.sleep(0.05)
say(kind="poll", waiting=7)
serve()
"""
    child = child_of(script, limits=Limits(silence=LONGER, step=SHORT))
    async with supervised(child):
        await eventually(lambda: child.view.waiting == 7, "a life beyond the limit")
        assert (child.restarts, child.problem) == (0, None)


@pytest.mark.parametrize(
    ("healthy_after", "state"),
    [(1000.0, ChildState.FATAL), (0.0, ChildState.BACKOFF)],
    ids=["never healthy", "healthy"],
)
@story
async def test_a_hang_is_a_failure_in_a_row_unless_the_worker_was_healthy(
    healthy_after: float, state: ChildState
) -> None:
    child = child_of("ready(); serve()", limits=Limits(silence=SHORT), limit=2, delay=0.2, healthy_after=healthy_after)
    async with supervised(child):
        await eventually(lambda: child.restarts and child.state is state, "the decision after the second hang")
        assert child.problem in ("it ended 2 times in a row", "ended with exit code 0 after it was silent for 0.3 s")


@story
async def test_the_time_of_a_hang_is_no_time_of_health() -> None:
    """Else a worker that gets stuck in each of its jobs would look healthy for as long as it was stuck."""
    child = child_of(STUCK, limits=Limits(step=SHORT), limit=2, healthy_after=SHORT / 2)
    await child.run()
    assert child.state is ChildState.FATAL


@story
async def test_a_stop_during_the_end_of_a_hanging_worker_is_obeyed() -> None:
    releases = Releases()
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); serve()"

    def stop_at_the_finding() -> None:
        if child.state is ChildState.STOPPING:
            child.stop()

    child = child_of(
        stubborn, limits=Limits(silence=SHORT), hang_seconds=0.05, releases=releases, changed=stop_at_the_finding
    )
    await child.run()
    assert (child.state, child.restarts) == (ChildState.STOPPED, 0)
    assert len(releases.calls) == 1


@story
async def test_a_process_left_behind_by_a_dead_worker_does_not_hold_up_its_restart(tmp_path: Path) -> None:
    """It inherited the control line, which therefore does not end with the worker."""
    script = """
if life == 1:
    left = os.fork()
    if left:
        with open(os.environ["LEFT"], "w") as file: file.write(str(left))
        os._exit(1)
    serve()
ready(); serve()
"""
    left = tmp_path / "left"
    child = child_of(script, environment={"LIVES": str(tmp_path / "lives"), "LEFT": str(left)})
    try:
        async with supervised(child):
            await second_life(child)
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)

"""One supervised worker: real processes that start, speak, die and are stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import structlog

from ourvidz_worker.control import ExitCode, WorkerState
from ourvidz_worker.errors import BackendRefused, BackendUnavailable
from ourvidz_worker.supervisor.child import ChildState
from tests.supervisor.stage import NEVER_READY, READY, STUBBORN, Releases, child_of, supervised
from tests.support.stories import story
from tests.support.waiting import eventually


@story
async def test_a_worker_that_says_ready_is_running() -> None:
    child = child_of(READY)
    async with supervised(child):
        await child.settled.wait()
        assert (child.state, child.view.state, child.problem) == (ChildState.RUNNING, WorkerState.READY, None)
        assert child.pid is not None
        os.kill(child.pid, 0)
    assert (child.view.as_json()["jobs"], child.restarts) == ([], 0)
    assert child.state is ChildState.STOPPED


@story
async def test_a_worker_learns_its_owner_and_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED", "of the supervisor")
    monkeypatch.setenv("OWN", "of the supervisor")
    script = 'say(kind="started", job_id=owner, job_type=os.environ["SHARED"] + "/" + os.environ["OWN"]); serve()'
    child = child_of(script, environment={"OWN": "of the worker"})
    async with supervised(child):
        await eventually(lambda: child.view.jobs, "the message")
        assert child.view.jobs["sdxl-1"].type == "of the supervisor/of the worker"


@story
async def test_a_dead_worker_is_started_again_and_what_it_held_is_released(tmp_path: Path) -> None:
    """The supervisor's `waitpid` is proof of death: it releases the child's held jobs at once (design)."""
    releases = Releases()
    script = "sys.exit(3) if life < 3 else (ready(), serve())"
    child = child_of(script, environment={"LIVES": str(tmp_path / "lives")}, releases=releases)
    async with supervised(child):
        await child.settled.wait()
        assert (child.restarts, child.state) == (2, ChildState.RUNNING)
        assert releases.calls == [
            ("sdxl-1", "the sdxl worker ended with exit code 3"),
            ("sdxl-2", "the sdxl worker ended with exit code 3"),
        ]
    assert releases.calls[2][0] == "sdxl-3"


@story
async def test_a_worker_killed_while_it_works_is_released_and_started_again(tmp_path: Path) -> None:
    releases = Releases()
    script = 'say(kind="started", job_id="job-1"); ready(); life > 1 or os.kill(os.getpid(), signal.SIGKILL); serve()'
    child = child_of(script, environment={"LIVES": str(tmp_path / "lives")}, releases=releases)
    async with supervised(child):
        await eventually(lambda: child.restarts == 1 and child.state is ChildState.RUNNING, "the second life")
        assert releases.calls == [("sdxl-1", "the sdxl worker was killed by SIGKILL")]


@pytest.mark.parametrize("problem", [BackendUnavailable("cut off"), BackendRefused("wrong token")])
@story
async def test_a_release_that_fails_does_not_stop_the_restart(tmp_path: Path, problem: Exception) -> None:
    """Not lost: the lease lapses and a reaper hands the jobs back."""
    releases = Releases()
    releases.errors = [problem]
    child = child_of(
        "life > 1 or sys.exit(1); ready(); serve()",
        environment={"LIVES": str(tmp_path / "lives")},
        releases=releases,
    )
    async with supervised(child):
        await child.settled.wait()
        assert child.restarts == 1


@story
async def test_a_worker_that_always_dies_is_given_up() -> None:
    releases = Releases()
    child = child_of("sys.exit(1)", limit=3, releases=releases)
    await child.run()
    assert (child.state, child.problem) == (ChildState.FATAL, "it ended 3 times in a row")
    assert child.settled.is_set(), "whoever waits for it must not wait for ever"
    assert len(releases.calls) == 3


@story
async def test_wrong_configuration_is_given_up_at_once() -> None:
    child = child_of(f"sys.exit({ExitCode.CONFIGURATION})")
    await child.run()
    assert (child.state, child.restarts) == (ChildState.FATAL, 0)
    assert "configuration is wrong" in (child.problem or "")


@story
async def test_a_program_that_cannot_be_started_is_given_up_and_holds_nobody_up() -> None:
    child = child_of("", limit=2, argv=("/nonexistent/python",))
    with structlog.testing.capture_logs() as logs:
        await child.run()
    assert child.state is ChildState.FATAL
    assert child.settled.is_set()
    problem = next(line["problem"] for line in logs if line["event"] == "worker_not_started")
    assert "/nonexistent/python" in problem


@story
async def test_a_stopped_worker_gets_a_signal_and_time_to_end() -> None:
    releases = Releases()
    script = (
        'signal.signal(signal.SIGTERM, lambda *_: (say(kind="state", state="DRAINING"), sys.exit(0))); ready(); serve()'
    )
    child = child_of(script, releases=releases)
    async with supervised(child):
        await child.settled.wait()
    assert child.state is ChildState.STOPPED
    assert child.view.state is WorkerState.DRAINING
    assert releases.calls == [("sdxl-1", "the sdxl worker ended with exit code 0")]


@story
async def test_a_worker_that_does_not_end_in_time_is_killed_and_released() -> None:
    releases = Releases()
    child = child_of(STUBBORN, stop_seconds=0.05, releases=releases)
    async with supervised(child):
        await child.settled.wait()
    assert child.state is ChildState.STOPPED
    assert releases.calls == [
        ("sdxl-1", "the sdxl worker was killed by SIGKILL after it had not stopped within 0.05 s")
    ]


@story
async def test_a_stop_while_loading_is_obeyed() -> None:
    child = child_of(NEVER_READY)
    async with supervised(child):
        await eventually(lambda: child.pid, "the start")
    assert child.state is ChildState.STOPPED
    assert child.settled.is_set()


@story
async def test_a_stop_ends_the_wait_for_a_restart() -> None:
    child = child_of("sys.exit(1)", delay=1000.0)
    async with supervised(child):
        await eventually(lambda: child.state is ChildState.BACKOFF, "the wait for the restart")
        assert child.problem == "ended with exit code 1: an internal error"
    assert child.state is ChildState.STOPPED


@story
async def test_garbage_on_the_control_line_harms_nobody() -> None:
    """Half lines, lines without an end, and types that no worker sends."""
    script = """
for garbage in (
    b"hello\\n", b"\\n", b"\\xff\\xfe\\n", b"[]\\n", b"{}\\n",
    b'{"kind":"done","job_id":{},"status":[]}\\n',
    b'{"kind":"state","state":"SLEEPING"}\\n',
    b"x" * 300_000 + b"\\n",
    b"[" * 60_000 + b"\\n",
):
    control.sendall(garbage)
ready()
say(kind="poll", waiting=4)
serve()
"""
    child = child_of(script)
    with structlog.testing.capture_logs() as logs:
        async with supervised(child) as running:
            await eventually(lambda: child.view.waiting == 4, "hearing what came after the garbage")
            assert not running.done()
            assert child.state is ChildState.RUNNING
    assert len([line for line in logs if line["event"] == "control_message_unreadable"]) >= 9


@story
async def test_a_worker_that_dies_in_the_middle_of_a_word_is_started_again(tmp_path: Path) -> None:
    script = 'life > 1 or (control.sendall(b\'{"kind":"st\'), os.kill(os.getpid(), signal.SIGKILL)); ready(); serve()'
    child = child_of(script, environment={"LIVES": str(tmp_path / "lives")})
    async with supervised(child):
        await child.settled.wait()
        assert child.restarts == 1


@story
async def test_the_last_words_of_a_worker_are_heard() -> None:
    script = """
for number in range(1000):
    say(kind="started", job_id=f"job-{number}")
    say(kind="done", job_id=f"job-{number}", status="completed")
sys.exit(1)
"""
    child = child_of(script, limit=1)
    await child.run()
    assert child.view.outcomes == {"completed": 1000}


@story
async def test_the_view_follows_a_job_and_counts_outcomes() -> None:
    script = """
say(kind="started", job_id="job-1", job_type="video_fast", attempt=2)
say(kind="step", job_id="job-1", step=3, steps=25)
say(kind="phase", job_id="job-1", phase="encoding")
for number in range(3):
    say(kind="started", job_id=f"old-{number}")
    say(kind="done", job_id=f"old-{number}", status="failed" if number else "completed")
say(kind="step", job_id="unknown", step=1, steps=2)
say(kind="poll", waiting=0)
serve()
"""
    child = child_of(script)
    async with supervised(child):
        await eventually(lambda: child.view.waiting == 0, "the last message")
        assert child.view.outcomes == {"completed": 1, "failed": 2}
        assert list(child.view.jobs) == ["job-1"]
        job = child.view.jobs["job-1"]
        assert (job.type, job.attempt, job.phase, job.step, job.steps) == ("video_fast", 2, "encoding", 3, 25)
        assert json.loads(json.dumps(child.view.as_json()))["jobs"][0]["id"] == "job-1"


@story
async def test_an_outcome_counts_even_where_the_start_was_not_told() -> None:
    """A worker leaves starts out, never outcomes, while its supervisor does not listen."""
    child = child_of('say(kind="done", job_id="job-1", status="completed"); sys.exit(1)', limit=1)
    await child.run()
    assert child.view.outcomes == {"completed": 1}


@story
async def test_a_new_life_knows_nothing_of_the_jobs_of_the_last_but_the_counts_stay(tmp_path: Path) -> None:
    script = """
if life == 1:
    say(kind="started", job_id="job-1"); say(kind="done", job_id="job-1", status="completed")
    say(kind="started", job_id="job-2")
    sys.exit(1)
ready(); serve()
"""
    child = child_of(script, environment={"LIVES": str(tmp_path / "lives")})
    async with supervised(child):
        await child.settled.wait()
        assert child.view.jobs == {}
        assert child.view.outcomes == {"completed": 1}


@story
async def test_many_lives_leave_no_open_files() -> None:
    await child_of("sys.exit(1)", limit=1).run()  # the loop's own machinery is open now
    before = open_files()
    await child_of("sys.exit(1)", limit=5).run()
    await child_of("", limit=5, argv=("/nonexistent/python",)).run()
    await eventually(lambda: open_files() <= before, "as few open files as before")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))

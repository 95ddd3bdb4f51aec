from __future__ import annotations

import pytest

from ourvidz_worker.runtime import progress as progress_module
from ourvidz_worker.runtime.progress import Progress, Silent
from tests.runtime.scene import job_of, payload
from tests.support.fakes import Listener


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def steps(listener: Listener) -> list[int | None]:
    return [message.step for message in listener.messages if message.kind == "step"]


def test_steps_are_thinned_to_ten_a_second(clock: _Clock) -> None:
    listener = Listener()
    progress = Progress(job_of(payload()), listener)
    for step in range(1, 100):
        progress.step(step, 1000)
        clock.now += 0.01
    assert 9 <= len(steps(listener)) <= 11
    assert steps(listener)[0] == 1


@pytest.mark.usefixtures("clock")
def test_the_last_step_always_goes_out() -> None:
    listener = Listener()
    progress = Progress(job_of(payload()), listener)
    for step in range(1, 26):
        progress.step(step, 25)
    assert steps(listener) == [1, 25]


def test_slow_steps_all_go_out(clock: _Clock) -> None:
    listener = Listener()
    progress = Progress(job_of(payload()), listener)
    for step in range(1, 6):
        progress.step(step, 25)
        clock.now += 1.0
    assert steps(listener) == [1, 2, 3, 4, 5]


def test_the_announcements_say_which_job_and_how_long(clock: _Clock) -> None:
    listener = Listener()
    progress = Progress(job_of(payload()), listener)
    progress.started()
    progress.phase("encoding")
    clock.now += 2.5
    progress.done("failed", "the card is full")
    started, phase, done = listener.messages
    assert (started.kind, started.job_id, started.job_type, started.attempt) == (
        "started",
        "job-1",
        "sdxl_image_fast",
        1,
    )
    assert (phase.kind, phase.phase) == ("phase", "encoding")
    assert (done.status, done.seconds, done.reason) == ("failed", 2.5, "the card is full")
    assert {message.job_id for message in listener.messages} == {"job-1"}


def test_a_worker_without_a_supervisor_talks_to_nobody() -> None:
    Progress(job_of(payload()), Silent()).started()

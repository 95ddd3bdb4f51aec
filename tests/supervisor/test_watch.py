"""When a worker hangs: no word, no step, no models; told from messages and a clock."""

from __future__ import annotations

import pytest

from ourvidz_worker.control import Message, WorkerState
from ourvidz_worker.supervisor.watch import Hang, Limits, Watch

LIMITS = Limits(silence=120.0, step=300.0, load=1800.0)
ALIVE = Message("alive")
LOADING, READY, BUSY, DRAINING = (
    Message("state", state=state)
    for state in (WorkerState.LOADING, WorkerState.READY, WorkerState.BUSY, WorkerState.DRAINING)
)


def step(number: int, job_id: str = "job-1") -> Message:
    return Message("step", job_id=job_id, step=number, steps=25)


def phase(name: str, job_id: str = "job-1") -> Message:
    return Message("phase", job_id=job_id, phase=name)


class Worker:
    """A watched worker on a clock of its own."""

    def __init__(self, *said: Message, limits: Limits = LIMITS) -> None:
        self.now = 1000.0
        self.watch = Watch(limits, clock=lambda: self.now)
        self.says(*said)

    def says(self, *messages: Message) -> None:
        for message in messages:
            self.watch.heard(message)

    def lives(self, seconds: float, *, every: Message | None = ALIVE) -> Hang | None:
        """Let time pass, with a word before each look; returns the first finding."""
        looks = round(seconds / self.watch.interval)
        for _ in range(looks):
            self.now += self.watch.interval
            if every is not None:
                self.watch.heard(every)
            if (hang := self.watch.look()) is not None:
                return hang
        return None

    def falls_silent(self, seconds: float) -> Hang | None:
        return self.lives(seconds, every=None)

    def pauses(self, seconds: float) -> None:
        """Nobody looks meanwhile, because the supervisor is paused itself."""
        self.now += seconds


def test_a_worker_that_talks_does_not_hang() -> None:
    assert Worker(READY).lives(3600.0) is None


def test_silence_is_a_hang_at_its_limit() -> None:
    worker = Worker(READY)
    assert worker.falls_silent(119.0) is None
    assert worker.falls_silent(1.0) == Hang("it was silent for 120 s", 120.0)


@pytest.mark.parametrize("word", [ALIVE, READY, Message("poll", waiting=0), step(1), Message("done", job_id="job-1")])
def test_any_word_ends_a_silence(word: Message) -> None:
    worker = Worker(READY)
    assert worker.falls_silent(119.0) is None
    worker.says(word)
    assert worker.falls_silent(119.0) is None


def test_before_the_first_word_only_the_load_limit_counts() -> None:
    """The interpreter and its libraries may come from a slow disk."""
    worker = Worker()
    assert worker.falls_silent(1799.0) is None
    assert worker.falls_silent(1.0) == Hang("it had not loaded its models within 1800 s", 1800.0)


def test_loading_for_too_long_is_a_hang_of_a_worker_that_talks() -> None:
    worker = Worker(LOADING)
    assert worker.lives(1799.0) is None
    hang = worker.lives(1.0)
    assert hang is not None
    assert "1800 s" in hang.reason


def test_a_silence_during_the_loading_is_a_hang() -> None:
    assert Worker(ALIVE, LOADING).falls_silent(120.0) == Hang("it was silent for 120 s", 120.0)


@pytest.mark.parametrize("ready", [READY, BUSY], ids=["READY", "BUSY"])
def test_loaded_models_are_not_loaded_again(ready: Message) -> None:
    assert Worker(LOADING, ready).lives(7200.0) is None


def test_a_stuck_step_is_a_hang_of_a_worker_that_talks() -> None:
    worker = Worker(READY, BUSY, phase("generating"), step(3))
    assert worker.lives(299.0) is None
    assert worker.lives(1.0) == Hang("it made no step for 300 s at step 3 of 25 of job job-1", 300.0)


@pytest.mark.parametrize("name", ["preparing", "enhancing", "generating"])
def test_a_phase_without_a_first_step_is_a_stuck_step_too(name: str) -> None:
    hang = Worker(READY, BUSY, phase(name)).lives(300.0)
    assert hang == Hang(f"it made no step for 300 s while {name} job job-1", 300.0)


def test_each_step_has_its_own_time() -> None:
    worker = Worker(READY, BUSY, phase("generating"))
    for number in range(1, 26):
        assert worker.lives(299.0) is None
        worker.says(step(number))
    assert worker.lives(299.0) is None, "decoding after the last step has the same time"
    assert worker.lives(1.0) is not None


@pytest.mark.parametrize(
    "end",
    [phase("encoding"), phase("uploading"), Message("done", job_id="job-1"), READY],
    ids=["encoding", "uploading", "done", "READY"],
)
def test_a_job_that_left_the_card_has_no_steps_to_make(end: Message) -> None:
    """An upload has limits of its own, and a lost `done` must not cost a healthy worker its life."""
    assert Worker(READY, BUSY, phase("generating"), step(25), end).lives(3600.0) is None


@pytest.mark.parametrize(
    "other", [phase("uploading", "job-0"), Message("done", job_id="job-0")], ids=["uploading", "done"]
)
def test_the_delivery_of_the_job_before_is_no_progress_of_this_one(other: Message) -> None:
    worker = Worker(READY, BUSY, phase("generating"), step(3))
    assert worker.lives(299.0, every=other) is None
    assert worker.lives(1.0, every=other) is not None


def test_each_job_has_a_time_of_its_own() -> None:
    """The next one is prepared while the card is busy, and neither excuses the other."""
    worker = Worker(READY, BUSY, phase("generating"), step(3))
    assert worker.lives(200.0) is None
    worker.says(phase("enhancing", "job-2"))
    assert worker.lives(99.0, every=phase("waiting", "job-3")) is None
    assert worker.lives(1.0) == Hang("it made no step for 300 s at step 3 of 25 of job job-1", 300.0)
    worker.says(Message("done", job_id="job-1"))
    assert worker.lives(199.0, every=step(1, "job-3")) is None
    assert worker.lives(1.0) == Hang("it made no step for 300 s while enhancing job job-2", 300.0)


def test_waiting_for_the_card_is_no_hang() -> None:
    worker = Worker(READY, BUSY, phase("generating"), phase("enhancing", "job-2"), phase("waiting", "job-2"))
    assert worker.lives(3600.0, every=step(3)) is None


def test_a_drain_does_not_excuse_a_stuck_step() -> None:
    assert Worker(READY, BUSY, phase("generating"), step(3), DRAINING).lives(300.0) is not None


@pytest.mark.parametrize("word", [None, ALIVE], ids=["not read yet", "read"])
def test_a_paused_supervisor_does_not_blame_its_workers(word: Message | None) -> None:
    """SIGSTOP, or the whole machine: what the worker said meanwhile may not even be read yet."""
    worker = Worker(READY, BUSY, phase("generating"), step(3))
    for _ in range(5):
        worker.pauses(3600.0)
        if word is not None:
            worker.says(word)
        assert worker.watch.look() is None
    assert worker.falls_silent(100.0) is None
    assert worker.falls_silent(20.0) is not None, "its own time counts as before"


def test_short_limits_are_looked_at_often_enough() -> None:
    worker = Worker(READY, limits=Limits(silence=2.0))
    assert worker.watch.interval == pytest.approx(0.2)
    assert worker.falls_silent(1.8) is None
    assert worker.falls_silent(0.4) == Hang("it was silent for 2 s", 2.0)
    assert Worker().watch.interval == 1.0

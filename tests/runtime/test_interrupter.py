from __future__ import annotations

import threading

import pytest

from ourvidz_worker.errors import Cancelled, DeadlinePassed, Drained, Fenced, Interruption
from ourvidz_worker.runtime import interrupter as interrupter_module
from ourvidz_worker.runtime.interrupter import Interrupter
from tests.support.waiting import wait_until


class Clock:
    """Stands in for the `time` module."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_nothing_is_raised_without_a_reason() -> None:
    Interrupter(60.0).look()


def test_the_reason_is_raised_at_the_next_look_and_every_one_after() -> None:
    interrupter = Interrupter(60.0)
    interrupter.stop(Drained("shut down"))
    for _ in range(2):
        with pytest.raises(Drained, match="shut down"):
            interrupter.look()


def test_the_first_reason_stays() -> None:
    interrupter = Interrupter(60.0)
    interrupter.stop(Fenced("the lease was lost"))
    interrupter.stop(Drained("shut down"))
    with pytest.raises(Fenced):
        interrupter.look()


def test_the_deadline_is_a_reason_of_its_own() -> None:
    interrupter = Interrupter(0.01)
    wait_until(lambda: interrupter.seconds_left == 0.0, "the deadline")
    with pytest.raises(DeadlinePassed):
        interrupter.look()


def test_a_stop_outranks_a_deadline_that_has_passed() -> None:
    """A job of a worker that shuts down is handed back, not failed."""
    interrupter = Interrupter(0.0)
    interrupter.stop(Drained("shut down"))
    with pytest.raises(Drained):
        interrupter.look()


def test_the_time_left_shrinks_and_never_falls_below_zero() -> None:
    assert 59.0 < Interrupter(60.0).seconds_left <= 60.0
    assert Interrupter(-5.0).seconds_left == 0.0


def test_no_library_swallows_an_interruption() -> None:
    """Model libraries catch `Exception` around callbacks; an interruption is none."""
    assert not issubclass(Interruption, Exception)


def test_it_is_set_in_one_thread_and_seen_in_another() -> None:
    interrupter = Interrupter(60.0)
    raised: list[BaseException] = []
    stepping = threading.Event()

    def generate() -> None:
        try:
            while True:
                stepping.set()
                interrupter.look()
        except Interruption as interruption:
            raised.append(interruption)

    thread = threading.Thread(target=generate)
    thread.start()
    assert stepping.wait(5.0)
    reason = Drained("shut down")
    interrupter.stop(reason)
    thread.join(5.0)
    assert raised == [reason]


def test_a_step_waits_until_the_start_is_confirmed() -> None:
    interrupter = Interrupter(60.0)
    passed = threading.Event()

    def step() -> None:
        interrupter.look_after_step()
        passed.set()

    thread = threading.Thread(target=step)
    thread.start()
    assert not interrupter.decided
    assert not passed.is_set()
    interrupter.confirm_start()
    thread.join(5.0)
    assert passed.is_set()


def test_a_step_that_waits_for_its_start_is_stopped_at_once() -> None:
    interrupter = Interrupter(60.0)
    raised: list[BaseException] = []

    def step() -> None:
        try:
            interrupter.look_after_step()
        except Interruption as interruption:
            raised.append(interruption)

    thread = threading.Thread(target=step)
    thread.start()
    reason = Cancelled()
    interrupter.stop(reason)
    thread.join(5.0)
    assert raised == [reason]


def test_the_deadline_and_the_lease_count_while_a_step_waits_for_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupter_module, "_LONGEST_LOOK_AWAY", 0.001)
    with pytest.raises(DeadlinePassed):
        Interrupter(0.0).look_after_step()

    def lost() -> None:
        raise Fenced("the lease was lost")

    with pytest.raises(Fenced):
        Interrupter(60.0, guard=lost).look_after_step()


def test_the_deadline_waits_while_others_have_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(interrupter_module, "time", clock)
    interrupter = Interrupter(60.0)
    clock.now += 50.0
    with interrupter.resting():
        clock.now += 500.0
        interrupter.look()
        assert interrupter.seconds_left == 10.0
    assert interrupter.seconds_left == 10.0
    clock.now += 11.0
    with pytest.raises(DeadlinePassed):
        interrupter.look()

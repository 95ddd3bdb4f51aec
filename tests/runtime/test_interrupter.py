from __future__ import annotations

import threading

import pytest

from ourvidz_worker.errors import DeadlinePassed, Drained, Fenced, Interruption
from ourvidz_worker.runtime.interrupter import Interrupter
from tests.support.waiting import wait_until


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

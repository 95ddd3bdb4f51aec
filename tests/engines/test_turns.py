"""Loading and computing in several threads: never at once, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ourvidz_worker.engines.turns import Turns
from tests.support.waiting import PATIENCE_SECONDS

Run = Callable[[Callable[[], None]], Future[None]]


@pytest.fixture
def in_thread() -> Iterator[Run]:
    with ThreadPoolExecutor() as threads:
        yield threads.submit


class Loader:
    """Loads once, and waits to be let go while it does."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.loads = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> None:
        with self._turns.loading():
            self.loads.set()
            assert self.may_end.wait(PATIENCE_SECONDS)


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_a_model_is_loaded_between_two_steps(turns: Turns, in_thread: Run) -> None:
    loader = Loader(turns)
    loader.may_end.set()
    with turns.computing():
        loading = in_thread(loader)
        while not turns._loaders:
            assert not loader.loads.wait(0.001)
        turns.give_way()
        assert loader.loads.is_set()
    loading.result(PATIENCE_SECONDS)


def test_nobody_computes_while_a_model_is_loaded(turns: Turns, in_thread: Run) -> None:
    loader, computed = Loader(turns), threading.Event()

    def compute() -> None:
        with turns.computing():
            assert loader.may_end.is_set()
            computed.set()

    loading = in_thread(loader)
    assert loader.loads.wait(PATIENCE_SECONDS)
    computing = in_thread(compute)
    loader.may_end.set()
    computing.result(PATIENCE_SECONDS)
    loading.result(PATIENCE_SECONDS)
    assert computed.is_set()


def test_two_compute_at_once(turns: Turns, in_thread: Run) -> None:
    def compute() -> None:
        with turns.computing():
            pass

    with turns.computing():
        in_thread(compute).result(PATIENCE_SECONDS)


def test_what_computes_may_load_and_what_loads_may_compute(turns: Turns, in_thread: Run) -> None:
    with turns.computing(), turns.computing():
        with turns.loading(), turns.loading(), turns.computing():
            turns.give_way()
        turns.give_way()
    loader = Loader(turns)
    loader.may_end.set()
    in_thread(loader).result(PATIENCE_SECONDS)


def test_two_that_compute_load_one_after_the_other(turns: Turns, in_thread: Run) -> None:
    def load_within() -> None:
        with turns.computing(), turns.loading():
            pass

    with turns.computing():
        both = [in_thread(load_within), in_thread(load_within)]
        with turns.paused():
            for each in both:
                each.result(PATIENCE_SECONDS)


def test_an_error_gives_the_turn_back(turns: Turns, in_thread: Run) -> None:
    with pytest.raises(RuntimeError, match="damaged"), turns.computing(), turns.loading():
        raise RuntimeError("damaged")
    loader = Loader(turns)
    loader.may_end.set()
    in_thread(loader).result(PATIENCE_SECONDS)

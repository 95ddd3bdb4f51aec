"""Restarts: 10 s for sdxl, 15 s for wan, growing; given up after 5 in a row; the row ends only with good health."""

from __future__ import annotations

import pytest

from ourvidz_worker.control import ExitCode
from ourvidz_worker.supervisor.restarts import FENCED_DELAY, LONGEST_DELAY, RestartPolicy, Verdict

NEVER_READY = 0.0


def policy(*, delay: float = 10.0, limit: int = 5, healthy_after: float = 60.0) -> RestartPolicy:
    return RestartPolicy(delay=delay, limit=limit, healthy_after=healthy_after)


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        pytest.param(10.0, [10.0, 20.0, 40.0, 80.0], id="sdxl"),
        pytest.param(15.0, [15.0, 30.0, 60.0, 120.0], id="wan"),
    ],
)
def test_the_delay_grows_and_the_fifth_failure_in_a_row_is_the_last(delay: float, expected: list[float]) -> None:
    restarts = policy(delay=delay)
    verdicts = [restarts.ended(ExitCode.INTERNAL, healthy_seconds=NEVER_READY) for _ in range(5)]
    assert [verdict.delay for verdict in verdicts[:4]] == expected
    assert [verdict.gives_up for verdict in verdicts] == [False, False, False, False, True]
    assert verdicts[4].reason == "it ended 5 times in a row"


@pytest.mark.parametrize(
    ("healthy_seconds", "delay"),
    [
        pytest.param(NEVER_READY, 20.0, id="never ready"),
        pytest.param(59.9, 20.0, id="ready, but not for long"),
        pytest.param(60.0, 10.0, id="healthy for a while"),
        pytest.param(3600.0, 10.0, id="healthy for an hour"),
    ],
)
def test_only_good_health_ends_the_row(healthy_seconds: float, delay: float) -> None:
    """A worker that is ready for a moment and dies again must not be started for ever."""
    restarts = policy()
    restarts.ended(ExitCode.INTERNAL, healthy_seconds=NEVER_READY)
    assert restarts.ended(ExitCode.INTERNAL, healthy_seconds=healthy_seconds) == Verdict(delay=delay)


def test_five_short_lives_give_up_even_though_each_was_ready() -> None:
    restarts = policy()
    verdicts = [restarts.ended(-9, healthy_seconds=5.0) for _ in range(5)]
    assert verdicts[-1].gives_up


def test_a_healthy_life_after_four_failures_starts_a_new_row() -> None:
    restarts = policy()
    for _ in range(4):
        restarts.ended(ExitCode.INTERNAL, healthy_seconds=NEVER_READY)
    verdicts = [restarts.ended(-9, healthy_seconds=61.0), *(restarts.ended(-9, healthy_seconds=0.0) for _ in range(3))]
    assert not any(verdict.gives_up for verdict in verdicts)
    assert restarts.ended(-9, healthy_seconds=0.0).gives_up


@pytest.mark.parametrize("healthy_seconds", [NEVER_READY, 3600.0])
def test_wrong_configuration_is_never_started_again(healthy_seconds: float) -> None:
    """A restart does not cure it; a person has to."""
    verdict = policy().ended(ExitCode.CONFIGURATION, healthy_seconds=healthy_seconds)
    assert verdict.gives_up
    assert "configuration" in (verdict.reason or "")


@pytest.mark.parametrize(
    "exit_code",
    [ExitCode.OK, ExitCode.INTERNAL, ExitCode.POISONED_CONTEXT, -9, -11, 137],
)
def test_every_other_end_is_started_again(exit_code: int) -> None:
    assert policy().ended(exit_code, healthy_seconds=NEVER_READY) == Verdict(delay=10.0)


def test_a_fenced_worker_is_started_again_promptly_and_as_often_as_it_takes() -> None:
    """It did what it should while Redis was out of reach; that is no failure of its own."""
    restarts = policy(limit=2)
    for _ in range(10):
        assert restarts.ended(ExitCode.FENCED, healthy_seconds=NEVER_READY) == Verdict(delay=FENCED_DELAY)
    assert restarts.ended(ExitCode.INTERNAL, healthy_seconds=NEVER_READY) == Verdict(delay=10.0)


def test_a_short_delay_is_not_lengthened_for_a_fenced_worker() -> None:
    assert policy(delay=0.1).ended(ExitCode.FENCED, healthy_seconds=NEVER_READY) == Verdict(delay=0.1)


def test_the_delay_never_exceeds_the_longest() -> None:
    restarts = policy(limit=50)
    delays = [restarts.ended(1, healthy_seconds=NEVER_READY).delay for _ in range(40)]
    assert max(delays) == LONGEST_DELAY
    assert delays == sorted(delays)


def test_a_limit_of_one_gives_up_at_once() -> None:
    assert policy(limit=1).ended(1, healthy_seconds=NEVER_READY).gives_up

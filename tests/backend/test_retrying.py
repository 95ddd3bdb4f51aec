from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from ourvidz_worker.backend.retrying import retrying
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, RowMissing
from tests.backend.pauses import Pauses


def fail_with(*failures: Exception) -> tuple[Pauses, int]:
    """Run a call that fails in turn and then succeeds; the pauses, and how often it was called."""
    pauses = Pauses()
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        if calls <= len(failures):
            raise failures[calls - 1]

    asyncio.run(retrying("upload", {BackendUnavailable: 60.0, RowMissing: 10.0}, sleep=pauses)(call))
    return pauses, calls


def test_pauses_grow_and_stay_bounded() -> None:
    pauses, calls = fail_with(*[BackendUnavailable("gone")] * 7)
    assert calls == 8
    assert pauses.seconds[0] <= 1.0
    assert pauses.seconds[2] > pauses.seconds[0]
    assert max(pauses.seconds) <= 12.0, "a patience of a minute is worth at least five attempts"


def test_a_failure_outside_the_patience_is_raised_at_once() -> None:
    with pytest.raises(BackendRefused):
        fail_with(BackendRefused("no"))


def test_the_last_failure_is_raised_as_it_is() -> None:
    failures = [RowMissing(f"number {number}") for number in range(40)]
    with pytest.raises(RowMissing) as raised:
        fail_with(*failures)
    assert raised.value in failures[5:]


def test_each_kind_of_failure_has_its_own_patience() -> None:
    outage, missing = [BackendUnavailable("gone")] * 7, [RowMissing("no row")] * 4
    assert fail_with(*outage, *missing)[1] == 12


def test_a_subclass_shares_the_patience_of_its_class() -> None:
    class Slow(BackendUnavailable):
        pass

    assert fail_with(Slow("slow"), BackendUnavailable("gone"))[1] == 3


def test_the_time_that_the_first_attempt_took_adds_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience begins with the first failure, by the clock and by the pauses alike."""
    now = 0.0
    monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=lambda: now))
    pauses = Pauses()

    async def call() -> None:
        nonlocal now
        now = 5.0
        raise BackendUnavailable("gone")

    with pytest.raises(BackendUnavailable):
        asyncio.run(retrying("upload", {BackendUnavailable: 10.0}, sleep=pauses)(call))
    assert pauses.total - pauses.seconds[-1] < 10.0 <= pauses.total

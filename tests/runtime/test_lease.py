"""Keeping the lease: 90 s in Redis, renewed every 30 s, fenced after 60 s without an answer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from ourvidz_worker.errors import BackendRefused, BackendUnavailable, Fenced, QuotaExceeded
from ourvidz_worker.runtime import lease
from ourvidz_worker.runtime.lease import LeaseKeeper
from tests.runtime.scene import OWNER, Scene
from tests.support.memory import LEASE_SECONDS
from tests.support.stories import story
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.005)
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.005)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.redis.leases[OWNER] = time.monotonic() + LEASE_SECONDS
    return scene


def test_a_worker_fences_itself_before_its_lease_can_lapse() -> None:
    """60 s to the fence, one more retry with a 10 s timeout, and still before the 90 s of the lease."""
    assert lease.FENCE_SECONDS + lease.RETRY_SECONDS + 10.0 < LEASE_SECONDS


@story
async def test_what_holds_nothing_renews_nothing(scene: Scene) -> None:
    """Commands are billed one by one: an idle worker must cost few (contract section 1)."""
    looks = 0

    def holding() -> bool:
        nonlocal looks
        looks += 1
        return False

    keeping = asyncio.create_task(LeaseKeeper(scene.queue, holding=holding).keep())
    await eventually(lambda: looks >= 3, "three looks")
    keeping.cancel()
    assert scene.journal == []


@story
async def test_a_lapsed_lease_fences_at_once(scene: Scene) -> None:
    scene.redis.leases.clear()
    with pytest.raises(Fenced, match="had lapsed"):
        await LeaseKeeper(scene.queue, holding=lambda: True).keep()


@pytest.mark.parametrize("problem", [BackendUnavailable("cut off"), QuotaExceeded("used up"), BackendRefused("no")])
@story
async def test_failed_renewals_are_repeated_until_the_fence(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    monkeypatch.setattr(lease, "FENCE_SECONDS", 0.05)
    scene.queue.script.fail_next("renew", *(problem for _ in range(10_000)))
    begun = time.monotonic()
    with pytest.raises(Fenced, match="not confirmed"):
        await LeaseKeeper(scene.queue, holding=lambda: True).keep()
    assert time.monotonic() - begun >= 0.05


@story
async def test_one_confirmed_renewal_takes_the_fence_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "FENCE_SECONDS", 0.2)
    keeper = LeaseKeeper(scene.queue, holding=lambda: True)
    scene.queue.script.fail_next("renew", BackendUnavailable("cut off"))
    keeping = asyncio.create_task(keeper.keep())
    # Each takes at least 5 ms, so they last longer than the time to the fence.
    await eventually(lambda: scene.journal.count("renew") >= 60, "60 renewals")
    assert not keeping.done()
    keeping.cancel()


@story
async def test_a_claim_confirms_the_lease_too_and_an_older_one_takes_nothing_back(scene: Scene) -> None:
    """What counts is when the command was sent."""
    keeper = LeaseKeeper(scene.queue, holding=lambda: True)
    later = time.monotonic() + 5.0
    keeper.confirm(later)
    keeper.confirm(later - 4.0)
    assert keeper._confirmed_at == later

"""Keeping the lease: 90 s in Redis, renewed every 30 s, fenced after 60 s without an answer."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, Fenced, QuotaExceeded
from ourvidz_worker.ports import Claim
from ourvidz_worker.runtime.holdings import Holdings
from ourvidz_worker.runtime.lease import LeaseKeeper, LeaseTimes
from tests.runtime.scene import OWNER, Scene, payload
from tests.support.memory import LEASE_SECONDS
from tests.support.stories import story
from tests.support.waiting import eventually

EAGER = LeaseTimes(0.03)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path)
    scene.redis.leases[OWNER] = time.monotonic() + LEASE_SECONDS
    return scene


def holding(scene: Scene, job_id: str = "job-1") -> Holdings:
    holdings = Holdings(scene.queue)
    element = json.dumps(payload(job_id))
    holdings.take(Claim("sdxl_queue", element, open_delivery(element))).job_id = job_id
    return holdings


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_everything_follows_from_the_life_of_the_lease() -> None:
    times = LeaseTimes()
    assert (times.lease, times.renew, times.fence, times.retry) == (90.0, 30.0, 60.0, 5.0)


@story
async def test_what_holds_nothing_renews_nothing(scene: Scene) -> None:
    """Commands are billed one by one: an idle worker must cost few (contract section 1)."""
    holdings = Holdings(scene.queue)
    keeping = asyncio.create_task(LeaseKeeper(scene.queue, holdings, EAGER).keep())
    marks = [asyncio.create_task(asyncio.sleep(EAGER.renew * count)) for count in (1, 2, 3)]
    await asyncio.gather(*marks)
    keeping.cancel()
    assert scene.journal == []


@story
async def test_a_lapsed_lease_fences_at_once(scene: Scene) -> None:
    scene.redis.leases.clear()
    with pytest.raises(Fenced, match="had lapsed"):
        await LeaseKeeper(scene.queue, holding(scene), EAGER).keep()


@pytest.mark.parametrize("problem", [BackendUnavailable("cut off"), QuotaExceeded("used up"), BackendRefused("no")])
@story
async def test_failed_renewals_are_repeated_until_the_fence(scene: Scene, problem: Exception) -> None:
    scene.queue.script.fail_next("renew", *(problem for _ in range(10_000)))
    begun = time.monotonic()
    with pytest.raises(Fenced, match="not confirmed"):
        await LeaseKeeper(scene.queue, holding(scene), LeaseTimes(0.09)).keep()
    assert time.monotonic() - begun >= 0.06


@story
async def test_a_renewal_that_never_answers_does_not_put_off_the_fence(scene: Scene) -> None:
    answer = scene.queue.script.hold("renew")
    with pytest.raises(Fenced, match="not confirmed"):
        await LeaseKeeper(scene.queue, holding(scene), LeaseTimes(0.09)).keep()
    answer.open()


@story
async def test_one_confirmed_renewal_takes_the_fence_back(scene: Scene) -> None:
    keeper = LeaseKeeper(scene.queue, holding(scene), LeaseTimes(0.15))
    scene.queue.script.fail_next("renew", BackendUnavailable("cut off"))
    keeping = asyncio.create_task(keeper.keep())
    # Each comes a third of the lease after the one before, so they last longer than two fences.
    await eventually(lambda: scene.journal.count("renew") >= 5, "five renewals")
    assert not keeping.done()
    keeping.cancel()


@story
async def test_a_renewal_tells_of_cancelled_jobs(scene: Scene) -> None:
    heard: list[str] = []
    keeper = LeaseKeeper(scene.queue, holding(scene, "job-7"), EAGER)
    keeper.on_cancelled = heard.extend
    scene.redis.cancelled |= {"job-7", "job-8"}
    keeping = asyncio.create_task(keeper.keep())
    await eventually(lambda: heard, "the cancellation")
    keeping.cancel()
    assert set(heard) == {"job-7"}


@story
async def test_a_claim_confirms_the_lease_too_and_an_older_one_takes_nothing_back(scene: Scene) -> None:
    """What counts is when the command was sent."""
    clock = Clock()
    keeper = LeaseKeeper(scene.queue, holding(scene), LeaseTimes(), clock=clock)
    keeper.confirm(5.0)
    keeper.confirm(1.0)
    clock.now = 64.9
    keeper.check()
    clock.now = 65.0
    with pytest.raises(Fenced, match="60 s"):
        keeper.check()


@story
async def test_what_is_not_held_needs_no_lease(scene: Scene) -> None:
    clock = Clock()
    keeper = LeaseKeeper(scene.queue, Holdings(scene.queue), LeaseTimes(), clock=clock)
    clock.now = 1000.0
    keeper.check()


@story
async def test_a_repeat_after_a_pause_of_the_process_is_none(scene: Scene) -> None:
    """The timer of a repeat may be older than the keeper's, so it looks for itself."""
    clock = Clock()
    keeper = LeaseKeeper(scene.queue, holding(scene), LeaseTimes(), clock=clock)
    await keeper.sleep(0)
    clock.now = 70.0
    with pytest.raises(Fenced, match="60 s"):
        await keeper.sleep(0)

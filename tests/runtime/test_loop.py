"""The loop: when it asks the queue, how many jobs it holds, and what it does when the queue misbehaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, QuotaExceeded
from ourvidz_worker.runtime import worker as worker_module
from tests.runtime.scene import OWNER, Scene, payload
from tests.support.fakes import Gate
from tests.support.stories import story
from tests.support.waiting import eventually

FOREVER = 1000.0
AT_BOOT = ("reap", "held")
WHILE_LOADING = "length"


class Pauses:
    """Stands in for the worker's waiting: every pause is noted and lasts until the next `end_pause()`."""

    def __init__(self, scene: Scene) -> None:
        self.seconds: list[float] = []
        self._gate = Gate()
        scene.worker._wait = scene.worker._listen = self._wait  # type: ignore[method-assign]

    async def noted(self, count: int) -> None:
        await eventually(lambda: len(self.seconds) >= count, f"pause {count}")

    def end_pause(self) -> None:
        self._gate.open()
        self._gate = Gate()

    async def _wait(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await self._gate.wait_here()


@story
async def test_an_idle_poll_is_one_command_per_interval(tmp_path: Path) -> None:
    """Commands are billed one by one: an idle worker must cost few (contract section 1)."""
    scene = Scene(tmp_path, poll_seconds=2.0)
    pauses = Pauses(scene)
    async with scene.working():
        await pauses.noted(1)
        assert [entry for entry in scene.journal if entry not in AT_BOOT] == [WHILE_LOADING, "length"]
        assert scene.redis.leases == {}
        pauses.end_pause()
        await pauses.noted(2)
        assert [entry for entry in scene.journal if entry not in AT_BOOT] == [WHILE_LOADING, "length", "length"]
        assert [scene.journal.count(entry) for entry in AT_BOOT] == [1, 1]
        assert pauses.seconds == [2.0, 2.0]
        scene.worker.stop()
        pauses.end_pause()


@story
async def test_the_next_poll_comes_at_once_after_a_job(tmp_path: Path) -> None:
    """Idle poll every 2 s or 5 s, next poll at once after a job (contract section 1)."""
    scene = Scene(tmp_path, poll_seconds=FOREVER)
    scene.submit(payload("job-1"), payload("job-2"), payload("job-3"))
    await scene.run_until_idle()
    assert scene.listener.outcomes() == {"job-1": "completed", "job-2": "completed", "job-3": "completed"}


@story
async def test_a_queue_that_hears_of_a_job_ends_the_pause(tmp_path: Path) -> None:
    scene = Scene(tmp_path, poll_seconds=FOREVER)
    pauses: list[float] = []
    came = asyncio.Event()

    async def wait(pause: float) -> None:
        pauses.append(pause)
        await came.wait()
        came.clear()

    scene.queue.wait = wait  # type: ignore[method-assign]
    async with scene.working():
        await eventually(lambda: pauses == [FOREVER], "an idle worker")
        scene.submit(payload("job-1"))
        came.set()
        await eventually(lambda: scene.listener.outcomes() == {"job-1": "completed"}, "the job")
    assert set(pauses) == {FOREVER}


@story
async def test_the_stop_ends_a_pause(tmp_path: Path) -> None:
    scene = Scene(tmp_path, poll_seconds=FOREVER)
    async with scene.working():
        await eventually(lambda: "length" in scene.journal, "the first poll")


@story
async def test_a_poll_tells_the_supervisor_how_many_jobs_wait(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload("job-1"), payload("job-2"))
    await scene.run_until_idle()
    waiting = [message.waiting for message in scene.listener.messages if message.kind == "poll"]
    assert waiting[:2] == [2, 1]


@story
async def test_the_states_of_a_worker_are_told_in_order(tmp_path: Path) -> None:
    scene = Scene(tmp_path, poll_seconds=FOREVER)
    scene.submit(payload())
    await scene.run_until_idle()
    assert scene.listener.states() == ["LOADING", "READY", "BUSY", "READY", "DRAINING"]


@story
async def test_one_generation_at_a_time_while_the_last_job_is_still_uploaded(tmp_path: Path) -> None:
    """Encoding, upload and callback of the last job overlap the next generation (design, "GPU")."""
    scene = Scene(tmp_path)
    scene.submit(payload("job-1"), payload("job-2"))
    uploading = scene.store.script.hold("put")
    drawing = scene.engine.hold_at(1, "job-2")
    async with scene.working():
        await uploading.reached()
        await drawing.reached()
        assert [request.job.id for request in scene.engine.requests] == ["job-1", "job-2"]
        assert scene.statuses().count("completed") == 0
        drawing.open()
        uploading.open()
        await scene.idle()
    assert scene.engine.most_at_once == 1
    assert scene.statuses().count("completed") == 2


@story
async def test_at_most_three_jobs_are_held(tmp_path: Path) -> None:
    """A backend that is slow to take results must not make one worker hoard the queue."""
    scene = Scene(tmp_path)
    scene.submit(*(payload(f"job-{number}") for number in range(1, 5)))
    gates = [scene.store.script.hold("put") for _ in range(3)]
    async with scene.working():
        for gate in gates:
            await gate.reached()
        assert len(scene.held()) == 3
        assert len(scene.redis.queue) == 1
        gates[0].open()
        gates[1].open()
        await eventually(lambda: not scene.redis.queue, "taking the fourth job once there is room")
        gates[2].open()
        await scene.idle()
    assert scene.engine.most_at_once == 1


@story
async def test_a_claim_whose_answer_was_lost_is_found_and_run_once(tmp_path: Path) -> None:
    """A pop whose response was lost has taken the job all the same (contract section 1)."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.queue.script.lose_next_answer("claim")
    async with scene.working():
        await scene.idle()
        polls = scene.journal.count("length")
        await eventually(lambda: scene.journal.count("length") > polls + 2, "three more polls")
    assert scene.statuses() == ["processing", "completed"]
    assert [request.job.attempt for request in scene.engine.requests] == [1]
    assert scene.journal.count("held") == 2, "one look-up suffices, after the one at boot"


@story
async def test_the_look_up_leaves_alone_what_is_being_worked_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload("job-1"), payload("job-2"))
    uploading = scene.store.script.hold("put")
    async with scene.working():
        await uploading.reached()
        await eventually(lambda: scene.statuses().count("completed") == 1, "the second job")
        scene.queue.script.fail_next("length", BackendUnavailable("cut off"))
        await eventually(lambda: scene.journal.count("held") == 2, "the look-up")
        uploading.open()
        await scene.idle()
    assert not {"requeue", "put_back"} & set(scene.journal)
    assert len(scene.engine.requests) == 2


@story
async def test_an_answer_lost_during_the_look_up_is_looked_for_too(tmp_path: Path) -> None:
    """An ending loses its answer while the loop looks for an earlier one: one more look-up must follow."""
    scene = Scene(tmp_path)
    scene.submit(payload("job-1"))
    uploading = scene.store.script.hold("put")
    scene.queue.script.fail_next("acknowledge", BackendUnavailable("cut off"))
    async with scene.working():
        await uploading.reached()
        looking = scene.queue.script.hold("held")
        scene.queue.script.fail_next("length", BackendUnavailable("cut off"))
        await looking.reached()
        uploading.open()
        await eventually(lambda: not scene.worker._endings, "the end of the delivery")
        assert len(scene.held()) == 1
        looking.open()
        await scene.idle()
    assert len(scene.engine.requests) == 1
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_an_unconfirmed_acknowledgement_is_said_again_and_nothing_else_is(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.queue.script.fail_next("acknowledge", BackendUnavailable("cut off"))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_an_acknowledgement_whose_answer_was_lost_is_not_repeated_for_the_user(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.queue.script.lose_next_answer("acknowledge")
    async with scene.working():
        await scene.idle()
        await eventually(lambda: "held" in scene.journal, "the look-up")
    assert scene.statuses() == ["processing", "completed"]
    assert scene.redis.queue == []


@story
async def test_an_outage_makes_the_pauses_grow_to_a_minute_and_shrink_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path, poll_seconds=10.0)
    pauses = Pauses(scene)
    scene.queue.script.fail_next("length", *(BackendUnavailable("cut off") for _ in (WHILE_LOADING, 1, 2, 3, 4)))
    async with scene.working():
        for count in range(1, 7):
            await pauses.noted(count)
            pauses.end_pause()
        scene.worker.stop()
        pauses.end_pause()
    assert pauses.seconds[:6] == [20.0, 40.0, 60.0, 60.0, 10.0, 10.0]


@story
async def test_a_used_up_quota_means_a_long_pause(tmp_path: Path) -> None:
    """Quota errors: back off long (contract section 1)."""
    scene = Scene(tmp_path)
    pauses = Pauses(scene)
    scene.queue.script.fail_next(
        "length", *(QuotaExceeded("max daily request limit exceeded") for _ in (WHILE_LOADING, 1))
    )
    with structlog.testing.capture_logs() as logs:
        async with scene.working():
            await pauses.noted(1)
            scene.worker.stop()
            pauses.end_pause()
    assert pauses.seconds[0] == worker_module.QUOTA_PAUSE >= 600
    assert "redis_quota_exceeded" in [line["event"] for line in logs]


@story
async def test_a_wrong_token_ends_the_worker_as_wrong_configuration(tmp_path: Path) -> None:
    """A restart does not cure a wrong token; a person has to."""
    scene = Scene(tmp_path)
    scene.queue.script.fail_next(
        "length", *(BackendRefused("set UPSTASH_REDIS_REST_TOKEN") for _ in (WHILE_LOADING, 1))
    )
    async with scene.ending_with(ConfigurationError, match="UPSTASH_REDIS_REST_TOKEN"):
        pass


@story
async def test_missing_weights_end_the_worker_before_it_asks_for_a_job(tmp_path: Path) -> None:
    """A worker that is not ready never claims (design, "Delivery")."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.engine.load_error = ConfigurationError("the weights are missing")
    async with scene.ending_with(ConfigurationError, match="the weights are missing"):
        pass
    assert scene.journal == [WHILE_LOADING]
    assert scene.listener.states() == ["LOADING"]


@pytest.mark.parametrize("begun", [True, False])
@story
async def test_what_a_dead_worker_left_behind_is_taken_up_at_boot(tmp_path: Path, *, begun: bool) -> None:
    """An attempt is charged only once generation started."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    left_behind = open_delivery(scene.redis.queue.pop())
    scene.redis.held["pod-0"] = [left_behind.begun("a1") if begun else left_behind.original]
    async with scene.working():
        await eventually(lambda: "completed" in scene.statuses(), "running the abandoned job")
    assert [request.job.attempt for request in scene.engine.requests] == [2 if begun else 1]


@story
async def test_what_a_living_worker_holds_is_left_to_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.redis.held["pod-0"] = [scene.redis.queue.pop()]
    scene.redis.leases["pod-0"] = float("inf")
    async with scene.working():
        await eventually(lambda: {"reap", "length"} <= set(scene.journal), "the reaper at boot")
    assert len(scene.redis.held["pod-0"]) == 1


@story
async def test_a_reaper_that_is_refused_does_not_stop_the_worker(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.queue.script.fail_next("reap", BackendUnavailable("cut off"))
    await scene.run_until_idle()
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_a_claim_comes_with_a_lease(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    drawing = scene.engine.hold_at(1)
    async with scene.working():
        await drawing.reached()
        assert scene.redis.alive(OWNER)
        drawing.open()
        await scene.idle()

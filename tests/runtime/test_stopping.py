"""How a worker ends: drained by a signal, fenced by a lost lease, or with a broken card."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, Fenced, PoisonedContext
from ourvidz_worker.runtime.lease import LeaseTimes
from tests.runtime.scene import Scene, payload
from tests.support.fakes import Gate
from tests.support.stories import story
from tests.support.waiting import eventually


@story
async def test_a_generation_that_ends_within_the_grace_is_delivered(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload("job-1"), payload("job-2"))
    drawing = scene.engine.hold_at(2)
    async with scene.working() as running:
        await drawing.reached()
        scene.worker.stop()
        drawing.open()
        await running
    assert scene.statuses() == ["processing", "completed"]
    assert len(scene.redis.queue) == 1, "the second job was not taken"
    assert scene.held() == []


@story
async def test_past_the_grace_a_job_is_handed_back_uncharged_at_its_next_step(tmp_path: Path) -> None:
    scene = Scene(tmp_path, grace_period=0.0)
    element = json.dumps(payload())
    scene.submit(element)
    drawing = scene.engine.hold_at(2)
    async with scene.working() as running:
        await drawing.reached()
        scene.worker.stop()
        await scene.told_to_stop()
        drawing.open()
        await running
    assert scene.redis.queue == [element], "the producer's bytes are untouched"
    assert scene.statuses() == ["processing"]
    assert scene.steps() == [1]
    assert scene.listener.outcomes() == {"job-1": "requeued"}


@story
async def test_a_delivery_may_end_during_the_drain(tmp_path: Path) -> None:
    scene = Scene(tmp_path, grace_period=0.0)
    scene.submit(payload())
    uploading = scene.store.script.hold("put")
    async with scene.working() as running:
        await uploading.reached()
        scene.worker.stop()
        uploading.open()
        await running
    assert scene.statuses() == ["processing", "completed"]
    assert scene.redis.queue == []


@pytest.mark.usefixtures("no_delivery_grace")
@story
async def test_a_delivery_that_takes_too_long_is_handed_back_and_its_result_kept(tmp_path: Path) -> None:
    scene = Scene(tmp_path, grace_period=0.0)
    element = json.dumps(payload())
    scene.submit(element)
    uploading = scene.store.script.hold("put")
    async with scene.working() as running:
        await uploading.reached()
        scene.worker.stop()
        await running
    (waiting,) = map(open_delivery, scene.redis.queue)
    assert (waiting.original, waiting.attempt, waiting.redelivered) == (element, 1, True)
    assert scene.statuses() == ["processing"]
    assert scene.spool.find("job-1") is not None


@pytest.mark.usefixtures("no_delivery_grace")
@pytest.mark.parametrize("problem", [BackendUnavailable("cut off"), BackendRefused("wrong token")])
@story
async def test_one_hand_back_that_fails_does_not_keep_the_others(tmp_path: Path, problem: Exception) -> None:
    """What is still held is handed back by the supervisor, who knows that this process is gone."""
    scene = Scene(tmp_path, grace_period=0.0)
    scene.submit(payload("job-1"), payload("job-2"))
    first, second = scene.store.script.hold("put"), scene.store.script.hold("put")
    scene.queue.script.fail_next("requeue", problem)
    async with scene.working() as running:
        await first.reached()
        await second.reached()
        scene.worker.stop()
        await running
    assert len(scene.held()) == 1
    assert len(scene.redis.queue) == 1


@story
async def test_a_claim_that_arrives_after_the_stop_is_handed_back_unseen(tmp_path: Path) -> None:
    """Its generation would begin after the one look at the end of the grace, and never be stopped."""
    scene = Scene(tmp_path, grace_period=0.0)
    element = json.dumps(payload())
    scene.submit(element)
    claiming = scene.queue.script.hold("claim")
    async with scene.working() as running:
        await claiming.reached()
        scene.worker.stop()
        claiming.open()
        await running
    assert scene.redis.queue == [element]
    assert scene.engine.requests == []
    assert scene.held() == []


@story
async def test_a_worker_that_waits_for_room_claims_nothing_when_stopped(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*(payload(f"job-{number}") for number in range(1, 5)))
    gates = [scene.store.script.hold("put") for _ in range(3)]
    async with scene.working() as running:
        for gate in gates:
            await gate.reached()
        scene.worker.stop()
        for gate in gates:
            gate.open()
        await running
    assert scene.journal.count("claim") == 3
    assert len(scene.redis.queue) == 1


@story
async def test_a_stop_while_the_models_load_ends_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.engine.loading = Gate()
    async with scene.working() as running:
        await scene.engine.loading.reached()
        scene.worker.stop()
        await running
        scene.engine.loading.open()
    assert set(scene.journal) == {"length"}
    assert scene.listener.states() == ["LOADING", "DRAINING"]


@story
async def test_a_second_stop_changes_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.working() as running:
        await eventually(lambda: "READY" in scene.listener.states(), "being ready")
        scene.worker.stop()
        scene.worker.stop()
        await running
    assert scene.listener.states().count("DRAINING") == 1


@story
async def test_a_poisoned_card_ends_the_process_and_hands_the_job_back_charged(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.engine.errors = [PoisonedContext("CUDA error: an illegal memory access was encountered")]
    async with scene.ending_with(PoisonedContext):
        pass
    assert scene.attempts() == [2]
    assert scene.held() == []
    assert scene.statuses() == ["processing"]


@story
async def test_a_poisoned_card_is_told_even_when_the_queue_is_out_of_reach(tmp_path: Path) -> None:
    """The exit code tells the supervisor why; the job lies in the held list for it to release."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.engine.errors = [PoisonedContext("CUDA error")]
    scene.queue.script.fail_next("requeue", *(BackendUnavailable("cut off") for _ in range(3)))
    async with scene.ending_with(PoisonedContext):
        pass
    assert len(scene.held()) == 1


WRONG_KEY = "check SUPABASE_SERVICE_KEY"


@story
async def test_a_wrong_key_stops_the_generation_whose_result_could_not_be_reported(tmp_path: Path) -> None:
    """Gateway 401: configuration (contract section 5). The queue must not be failed job by job because of it."""
    scene = Scene(tmp_path)
    elements = [json.dumps(payload("job-1")), json.dumps(payload("job-2"))]
    scene.submit(*elements)
    for status in ("processing", "completed"):
        scene.reporter.script.fail_next(status, *(ConfigurationError(WRONG_KEY) for _ in elements))
    announcing, drawing = scene.reporter.script.hold("processing"), scene.engine.hold_at(2)
    async with scene.ending_with(ConfigurationError, match=WRONG_KEY):
        await drawing.reached()
        announcing.open()
        await scene.told_to_stop()
        drawing.open()
    assert sorted(scene.redis.queue) == elements, "both are as they were"
    assert scene.held() == []
    assert scene.reporter.callbacks == []
    assert scene.steps() == [1]


@pytest.mark.parametrize("operation", ["put", "completed"])
@story
async def test_a_wrong_key_at_delivery_hands_the_job_back_and_keeps_its_result(tmp_path: Path, operation: str) -> None:
    scene = Scene(tmp_path)
    element = json.dumps(payload())
    scene.submit(element)
    script = scene.store.script if operation == "put" else scene.reporter.script
    script.fail_next(operation, ConfigurationError(WRONG_KEY))
    async with scene.ending_with(ConfigurationError, match=WRONG_KEY):
        pass
    assert scene.redis.queue == [element]
    assert scene.statuses() == ["processing"]
    assert scene.spool.find("job-1") is not None


@story
async def test_a_wrong_key_while_a_failure_is_reported_hands_the_job_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    element = json.dumps(payload(config={"num_images": 2}))
    scene.submit(element)
    scene.reporter.script.fail_next("failed", ConfigurationError(WRONG_KEY))
    async with scene.ending_with(ConfigurationError, match=WRONG_KEY):
        pass
    assert scene.redis.queue == [element]
    assert scene.dead() == []


@story
async def test_a_lost_lease_stops_the_generation_and_delivers_nothing(tmp_path: Path) -> None:
    """Others may have the jobs by now (design, "Delivery": self-fence)."""
    scene = Scene(tmp_path, lease=LeaseTimes(0.3))
    scene.submit(payload("job-1"), payload("job-2"))
    uploading = scene.store.script.hold("put")
    drawing = scene.engine.hold_at(2, "job-2")
    async with scene.ending_with(Fenced):
        await uploading.reached()
        await drawing.reached()
        scene.redis.leases.clear()
        await scene.told_to_stop("job-2")
        await eventually(lambda: not scene.worker._endings, "the end of the delivery, which is not waited for")
        drawing.open()
        uploading.open()
    assert scene.store.files == {}
    assert set(scene.statuses()) == {"processing"}
    assert len(scene.held()) == 2, "whoever took the jobs over decides on them"
    assert scene.redis.queue == []
    assert scene.listener.states()[-1] == "FAILED"


@story
async def test_a_worker_that_is_cut_off_fences_itself(tmp_path: Path) -> None:
    """60 s without a confirmed renewal, and the worker stops its generation and delivers nothing."""
    scene = Scene(tmp_path, lease=LeaseTimes(0.1))
    scene.submit(payload())
    drawing = scene.engine.hold_at(2)
    scene.queue.script.fail_next("renew", *(BackendUnavailable("cut off") for _ in range(10_000)))
    async with scene.ending_with(Fenced):
        await drawing.reached()
        await scene.told_to_stop()
        drawing.open()
    assert scene.store.files == {}


@story
async def test_a_stopped_worker_leaves_no_task_behind(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with scene.working() as running:
        await eventually(lambda: "READY" in scene.listener.states(), "being ready")
        scene.worker.stop()
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}

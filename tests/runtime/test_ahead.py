"""The job that is next: claimed and prepared while another one has the card, and handed back when it gets none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import Fenced, OutOfMemory, PoisonedContext
from ourvidz_worker.runtime import handling
from ourvidz_worker.runtime.lease import LeaseTimes
from tests.runtime.scene import Scene, payload
from tests.support.fakes import FakeEnhancer, Gate
from tests.support.stories import story
from tests.support.waiting import eventually

FOREVER = 1000.0
ELEMENTS = [json.dumps(payload(f"job-{number}")) for number in range(1, 4)]


@story
async def test_the_next_job_is_prepared_before_the_card_is_free_and_not_charged(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*ELEMENTS)
    drawing = scene.engine.hold_at(2)
    async with scene.working():
        await drawing.reached()
        await scene.waiting("job-2")
        assert scene.engine.prepared == ["job-2"]
        assert [open_delivery(element).started for element in scene.held()] == [False, True]
        assert len(scene.redis.queue) == 1, "one job ahead, and no more"
        drawing.open()
        await scene.idle()
    assert scene.engine.most_at_once == 1
    assert set(scene.listener.outcomes().values()) == {"completed"}


@story
async def test_a_generation_begins_while_the_last_one_is_encoded(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*ELEMENTS[:2])
    scene.encoder.gate = encoding = Gate()
    drawing = scene.engine.hold_at(2, "job-2")
    async with scene.working():
        await encoding.reached()
        await drawing.reached()
        encoding.open()
        drawing.open()
        await scene.idle()


@story
async def test_a_backlog_is_not_asked_for_its_length(tmp_path: Path) -> None:
    """A claim tells how many jobs wait behind it: three commands a job (contract section 1)."""
    scene = Scene(tmp_path, poll_seconds=FOREVER)
    scene.submit(*ELEMENTS)
    async with scene.working():
        await scene.idle()
        await eventually(lambda: scene.journal.count("length") == 2, "the poll after the last job")
    commands = [entry for entry in scene.journal if entry in ("length", "claim", "begin", "acknowledge")]
    assert [commands.count(name) for name in ("length", "claim", "begin", "acknowledge")] == [2, 3, 3, 3]
    assert [m.waiting for m in scene.listener.messages if m.kind == "poll"] == [3, 2, 1, 0, 0]


@story
async def test_a_shutdown_hands_the_next_job_back_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, grace_period=FOREVER)
    scene.submit(*ELEMENTS[:2])
    drawing = scene.engine.hold_at(2)
    async with scene.working() as running:
        await drawing.reached()
        await scene.waiting("job-2")
        scene.worker.stop()
        await eventually(lambda: scene.redis.queue == ELEMENTS[1:2], "the hand-back")
        drawing.open()
        await running
    assert scene.redis.queue == ELEMENTS[1:2], "the producer's bytes are untouched"
    assert scene.listener.outcomes() == {"job-1": "completed", "job-2": "requeued"}


@story
async def test_a_shutdown_does_not_wait_for_a_prompt_that_is_read(tmp_path: Path) -> None:
    scene = Scene(tmp_path, grace_period=FOREVER)
    scene.submit(*ELEMENTS[:2])
    drawing = scene.engine.hold_at(2)
    scene.engine.preparing = reading = Gate()
    async with scene.working() as running:
        await reading.reached()
        scene.worker.stop()
        await eventually(lambda: scene.redis.queue == ELEMENTS[1:2], "the hand-back")
        drawing.open()
        await running
        reading.open()


@story
async def test_an_enhanced_job_is_begun_before_its_language_model_and_not_charged_when_handed_back(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, queue="wan_queue", enhancer=FakeEnhancer("a better lighthouse"), grace_period=FOREVER)
    enhanced = json.dumps(payload("job-2", "image7b_fast_enhanced"))
    scene.submit(payload("job-1", "image_fast"), enhanced)
    drawing = scene.engine.hold_at(2)
    async with scene.working() as running:
        await drawing.reached()
        await scene.waiting("job-2")
        assert [open_delivery(element).started for element in scene.held()] == [True, True]
        scene.worker.stop()
        drawing.open()
        await running
    assert scene.redis.queue == [enhanced]
    assert [request.job.id for request in scene.engine.requests] == ["job-1"]


@story
async def test_a_poisoned_card_charges_the_job_it_had_and_not_the_next(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*ELEMENTS[:2])
    drawing = scene.engine.hold_at(1)
    scene.engine.failing["job-1"] = PoisonedContext("CUDA error: an illegal memory access was encountered")
    async with scene.ending_with(PoisonedContext):
        await drawing.reached()
        await scene.waiting("job-2")
        drawing.open()
    by_id = {json.loads(delivery.original)["id"]: delivery for delivery in map(open_delivery, scene.redis.queue)}
    assert (by_id["job-1"].attempt, by_id["job-2"].redelivered) == (2, False)
    assert [request.job.id for request in scene.engine.requests] == ["job-1"]


@story
async def test_a_lost_lease_leaves_the_next_job_where_it_is(tmp_path: Path) -> None:
    scene = Scene(tmp_path, lease=LeaseTimes(0.3))
    scene.submit(*ELEMENTS[:2])
    drawing = scene.engine.hold_at(2)
    async with scene.ending_with(Fenced):
        await drawing.reached()
        await scene.waiting("job-2")
        scene.redis.leases.clear()
        await scene.told_to_stop()
        drawing.open()
    assert len(scene.held()) == 2
    assert scene.redis.queue == []
    assert scene.journal.count("begin") == 1


@story
async def test_a_waiting_job_that_is_cancelled_makes_room_for_another(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*ELEMENTS)
    drawing = scene.engine.hold_at(2)
    async with scene.working():
        await drawing.reached()
        await scene.waiting("job-2")
        scene.lease.on_cancelled(["job-2"])
        await scene.waiting("job-3")
        assert scene.listener.outcomes() == {"job-2": "cancelled"}
        drawing.open()
        await scene.idle()
    assert [request.job.id for request in scene.engine.requests] == ["job-1", "job-3"]


@story
async def test_a_row_that_says_cancelled_ends_the_wait_and_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "ROW_LOOK_SECONDS", 0.001)
    scene = Scene(tmp_path, rows_tell=True)
    scene.submit(*ELEMENTS[:2])
    drawing = scene.engine.hold_at(2)
    async with scene.working():
        await drawing.reached()
        await scene.waiting("job-2")
        scene.rows.statuses["job-2"] = "cancelled"
        await eventually(lambda: "job-2" in scene.listener.outcomes(), "the end of the wait")
        drawing.open()
        await scene.idle()
    assert scene.listener.outcomes() == {"job-1": "completed", "job-2": "cancelled"}
    assert "failed" not in scene.statuses()


@story
async def test_a_refused_prompt_waits_for_no_card(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(ELEMENTS[0], payload("job-2", prompt="something forbidden"), ELEMENTS[2])
    drawing = scene.engine.hold_at(2)
    async with scene.working():
        await drawing.reached()
        await scene.waiting("job-3")
        await eventually(lambda: scene.listener.outcomes() == {"job-2": "failed"}, "the refusal")
        drawing.open()
        await scene.idle()


@story
async def test_what_could_not_be_prepared_ahead_is_left_to_the_generation(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*ELEMENTS[:2])
    scene.engine.prepare_error = KeyError("text_encoder")
    drawing = scene.engine.hold_at(2)
    with structlog.testing.capture_logs() as logs:
        async with scene.working():
            await drawing.reached()
            await scene.waiting("job-2")
            drawing.open()
            await scene.idle()
    assert scene.listener.outcomes() == {"job-1": "completed", "job-2": "completed"}
    assert [line["log_level"] for line in logs if line["event"] == "preparation_failed"] == ["error"]


@story
async def test_a_failed_generation_gives_the_card_to_the_next(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*ELEMENTS[:2])
    scene.engine.failing["job-1"] = OutOfMemory("the card is full")
    await scene.run_until_idle()
    assert scene.listener.outcomes() == {"job-1": "failed", "job-2": "completed"}


@story
async def test_each_line_of_the_log_names_its_own_job(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(*ELEMENTS)
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await scene.run_until_idle()
    for event in ("job_claimed", "generation_started", "job_completed"):
        assert sorted(line["job_id"] for line in logs if line["event"] == event) == ["job-1", "job-2", "job-3"]

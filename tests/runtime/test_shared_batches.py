"""Jobs of one shape in one batch: each keeps its seed, its deadline, its cancellation and its outcome."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import BackendUnavailable, GenerationFailed, OutOfMemory, PoisonedContext
from tests.runtime.scene import Scene, payload
from tests.support.fakes import Gate
from tests.support.stories import story
from tests.support.waiting import eventually

FIRST = payload("job-0")


def job(number: int, job_type: str = "sdxl_image_fast", *, images: int = 1) -> dict[str, Any]:
    return payload(f"job-{number}", job_type, config={"num_images": images, "seed": 10 * number})


@asynccontextmanager
async def gathering(scene: Scene, *waiting: str) -> AsyncIterator[Gate]:
    """These wait for the card, which the first job has until the gate opens, at the end of the block at the latest."""
    drawing = scene.engine.hold_at(1, "job-0")
    async with scene.working():
        await drawing.reached()
        for job_id in waiting:
            await scene.waiting(job_id)
        yield drawing
        drawing.open()
        await scene.idle()


@story
async def test_jobs_alike_are_drawn_in_one_batch_with_their_own_seeds(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, job(1), job(2))
    async with gathering(scene, "job-1", "job-2"):
        pass
    assert scene.engine.batches == [["job-0"], ["job-1", "job-2"]]
    completed = {c.job_id: c for c in scene.reporter.callbacks if c.status == "completed"}
    assert [completed[name].metadata["seed"] for name in ("job-1", "job-2")] == [10, 20]
    assert [completed[name].metadata.get("shared_batch") for name in ("job-0", "job-1", "job-2")] == [None, 2, 2]
    assert scene.statuses().count("processing") == 3


@pytest.mark.parametrize(
    ("images", "batches"),
    [
        ((3, 1, 1), [["job-1", "job-2"], ["job-3"]]),
        ((1, 3, 1), [["job-1", "job-2"], ["job-3"]]),
        ((3, 3, 1), [["job-1"], ["job-2", "job-3"]]),
        ((6, 1, 3), [["job-1"], ["job-2", "job-3"]]),
    ],
)
@story
async def test_a_batch_holds_no_more_pictures_than_it_may(
    tmp_path: Path, images: tuple[int, ...], batches: list[list[str]]
) -> None:
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, *(job(number, images=count) for number, count in enumerate(images, 1)))
    async with gathering(scene, *batches[0]) as first:
        last = scene.engine.hold_at(1, batches[0][-1])
        first.open()
        await last.reached()
        for job_id in batches[1]:
            await scene.waiting(job_id)
        last.open()
    assert scene.engine.batches == [["job-0"], *batches]


@story
async def test_a_job_of_another_type_ends_the_gathering_and_stays_on_the_queue(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, job(1), job(2, "sdxl_image_high"), job(3))
    async with gathering(scene, "job-1"):
        await eventually(lambda: scene.journal.count("claim") == 3, "a claim for nothing")
        assert len(scene.redis.queue) == 2
    assert scene.engine.batches[:2] == [["job-0"], ["job-1"]]
    assert scene.journal.count("put_back") == 0


@story
async def test_a_job_of_another_size_is_the_next_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4)
    wide = payload("job-2", config={"num_images": 1, "seed": 7, "width": 1216, "height": 832})
    scene.submit(FIRST, job(1), wide, job(3))
    async with gathering(scene, "job-1", "job-2"):
        assert len(scene.redis.queue) == 1
    assert scene.engine.batches[:2] == [["job-0"], ["job-1"]]


@story
async def test_nobody_waits_for_company(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4, poll_seconds=1000.0)
    scene.submit(FIRST)
    await scene.run_until_idle()
    assert scene.engine.batches == [["job-0"]]


@pytest.mark.parametrize("error", [OutOfMemory("the card is full"), KeyError("unet.bias")])
@story
async def test_one_that_fails_fails_alone(tmp_path: Path, error: Exception) -> None:
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, job(1), job(2), job(3))
    scene.engine.failing["job-2"] = error
    with structlog.testing.capture_logs():
        async with gathering(scene, "job-1", "job-2", "job-3"):
            pass
    assert scene.engine.batches[-1] == ["job-1", "job-2", "job-3"]
    assert scene.listener.outcomes() == {
        "job-0": "completed",
        "job-1": "completed",
        "job-2": "failed",
        "job-3": "completed",
    }


@story
async def test_a_failure_of_the_whole_batch_is_each_jobs_own(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, job(1), job(2))
    async with gathering(scene, "job-1", "job-2"):
        scene.engine.errors = [GenerationFailed("the solver diverged")]
    assert [scene.listener.outcomes()[name] for name in ("job-1", "job-2")] == ["failed", "failed"]


@story
async def test_one_that_is_cancelled_leaves_the_others_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, job(1), job(2))
    drawing = scene.engine.hold_at(2, "job-1")
    async with gathering(scene, "job-1", "job-2") as first:
        first.open()
        await drawing.reached()
        scene.lease.on_cancelled(["job-2"])
        drawing.open()
    assert scene.listener.outcomes() == {"job-0": "completed", "job-1": "completed", "job-2": "cancelled"}
    assert scene.steps("job-2") == [1]


@story
async def test_one_whose_start_is_not_confirmed_leaves_the_others_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, job(1), job(2))
    drawing = scene.engine.hold_at(1, "job-1")
    async with gathering(scene, "job-1", "job-2") as first:
        starts = [scene.queue.script.hold("begin") for _ in range(2)]
        scene.queue.script.fail_next("begin", BackendUnavailable("cut off"))
        first.open()
        await drawing.reached()
        for start in starts:
            start.open()
        drawing.open()
    assert scene.engine.batches[1] == ["job-1", "job-2"]
    assert len(scene.engine.batches) == 3, "one of them is drawn again"
    assert set(scene.listener.outcomes().values()) == {"completed"}
    assert {request.job.attempt for request in scene.engine.requests} == {1}


@story
async def test_a_shutdown_stops_all_of_a_batch_and_charges_none(tmp_path: Path) -> None:
    scene = Scene(tmp_path, most_images=4, grace_period=0.0)
    elements = [json.dumps(job(1)), json.dumps(job(2))]
    scene.submit(FIRST, *elements)
    drawing = scene.engine.hold_at(2, "job-1")
    async with gathering(scene, "job-1", "job-2") as first:
        first.open()
        await drawing.reached()
        scene.worker.stop()
        await scene.told_to_stop("job-2")
        drawing.open()
        await eventually(lambda: not scene.held(), "the hand-back")
        handed_back, scene.redis.queue = scene.redis.queue, []
    assert sorted(handed_back) == elements


@story
async def test_of_a_batch_that_poisons_the_card_nobody_is_charged_and_each_comes_again(tmp_path: Path) -> None:
    """Nobody knows which one it was; drawn alone the next time, it shows itself."""
    scene = Scene(tmp_path, most_images=4)
    scene.submit(FIRST, job(1), job(2))
    drawing = scene.engine.hold_at(1, "job-0")
    async with scene.ending_with(PoisonedContext):
        await drawing.reached()
        await scene.waiting("job-1")
        await scene.waiting("job-2")
        scene.engine.errors = [PoisonedContext("CUDA error")]
        drawing.open()
    assert scene.attempts() == [1, 1]
    assert all(open_delivery(element).redelivered for element in scene.redis.queue)
    assert scene.listener.outcomes() == {"job-0": "completed", "job-1": "requeued", "job-2": "requeued"}


@story
async def test_a_job_that_comes_again_shares_no_batch(tmp_path: Path) -> None:
    """It may be what ended its last worker."""
    scene = Scene(tmp_path, most_images=4)
    again = open_delivery(json.dumps(job(1))).again("its worker died", charged=False)
    scene.submit(FIRST, again, job(2))
    async with gathering(scene, "job-1"):
        assert len(scene.redis.queue) == 1
    assert scene.engine.batches == [["job-0"], ["job-1"], ["job-2"]]

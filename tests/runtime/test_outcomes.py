"""What becomes of one job: completed, failed, dead or handed back, and in which order the product hears of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import structlog

from ourvidz_worker.contract.job import Reference
from ourvidz_worker.errors import (
    BackendRefused,
    BackendUnavailable,
    GenerationFailed,
    OutOfMemory,
    OutputInvalid,
    ReferenceUnusable,
    RowMissing,
    RowNotLinked,
)
from ourvidz_worker.ports import ReferenceImage
from ourvidz_worker.runtime.endings import INTERNAL
from ourvidz_worker.runtime.handling import MAX_ATTEMPTS
from tests.runtime.scene import Scene, payload, spooled
from tests.support.stories import story
from tests.support.waiting import eventually

KEY = "user-1/job-1_0.png"
REFERENCE = {"reference_image_url": "https://storage.example/ref.png", "reference_type": "style", "seed": 7}


@story
async def test_a_job_is_announced_uploaded_reported_and_only_then_acknowledged(tmp_path: Path) -> None:
    """Only with the acknowledgement does the job leave Redis, so it comes last (design, the way of a job)."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    await scene.run_until_idle()
    assert scene.done() == ["processing", f"put {KEY}", "completed", "acknowledge"]
    assert scene.store.files == {("sdxl_image_fast", KEY): b"job-1 7"}
    assert scene.spool.find("job-1") is None


@story
async def test_the_result_is_on_disk_before_the_first_upload(tmp_path: Path) -> None:
    """Nothing that was generated is generated again because an upload failed."""
    scene = Scene(tmp_path)
    scene.submit(payload(config={"num_images": 3, "seed": 7}))
    uploading = scene.store.script.hold("put")
    async with scene.working():
        await uploading.reached()
        found = scene.spool.find("job-1")
        assert found is not None
        assert [stored.key for stored in found.assets] == [f"user-1/job-1_{index}.png" for index in range(3)]
        uploading.open()
        await scene.idle()


@story
async def test_the_callback_names_keys_sizes_and_the_seed_of_each_image(tmp_path: Path) -> None:
    """Image i of a job uses seed + i (contract section 2)."""
    scene = Scene(tmp_path)
    scene.submit(payload(config={"num_images": 3, "seed": 7}))
    await scene.run_until_idle()
    completed = scene.reporter.last()
    assert [(asset.key, asset.seed) for asset in completed.assets] == [
        (f"user-1/job-1_{index}.png", 7 + index) for index in range(3)
    ]
    assert {(asset.width, asset.height, asset.duration) for asset in completed.assets} == {(1024, 1024, None)}


@story
async def test_a_clip_is_one_asset_with_its_duration(tmp_path: Path) -> None:
    """`frame_num` 83 is what producers send, 81 come out (contract section 2); 16 frames a second."""
    scene = Scene(tmp_path, queue="wan_queue")
    scene.submit(payload("job-1", "video_fast", config={"frame_num": 83, "seed": 7}))
    await scene.run_until_idle()
    (asset,) = scene.reporter.last().assets
    assert (asset.key, asset.media, asset.duration) == ("user-1/job-1.mp4", "video", 81 / 16)


@story
async def test_without_a_seed_one_is_drawn_and_reported(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(config={"num_images": 1}))
    await scene.run_until_idle()
    seed = scene.engine.requests[0].seed
    assert 0 <= seed < 2**31
    assert scene.reporter.last().metadata["seed"] == seed


@story
async def test_processing_comes_before_the_final_report_even_if_it_hangs(tmp_path: Path) -> None:
    """`processing` after `completed` is 200 and the job goes back to processing (contract section 5)."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    announcing = scene.reporter.script.hold("processing")
    async with scene.working():
        await announcing.reached()
        await eventually(lambda: scene.worker._endings, "the end of the generation")
        assert scene.done() == []
        announcing.open()
        await scene.idle()
    assert scene.done() == ["processing", f"put {KEY}", "completed", "acknowledge"]


@story
async def test_processing_that_hangs_holds_back_a_failure_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.engine.errors = [OutOfMemory("the card is full")]
    announcing = scene.reporter.script.hold("processing")
    async with scene.working():
        await announcing.reached()
        await eventually(lambda: scene.worker._endings, "the end of the generation")
        assert scene.done() == []
        announcing.open()
        await scene.idle()
    assert scene.statuses() == ["processing", "failed"]


@pytest.mark.parametrize("problem", [BackendUnavailable("cut off"), RowMissing("no row"), RuntimeError("a bug")])
@story
async def test_a_processing_that_cannot_be_reported_costs_nothing(tmp_path: Path, problem: Exception) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.reporter.script.fail_next("processing", problem)
    await scene.run_until_idle()
    assert scene.statuses() == ["completed"]
    assert len(scene.engine.requests) == 1


@pytest.mark.parametrize("element", ["not json", "{}", '["a", "b"]', '{"id": "../x", "type": "image_fast"}', ""])
@story
async def test_a_malformed_element_is_put_aside_with_its_raw_bytes(tmp_path: Path, element: str) -> None:
    """Malformed JSON on the queue: nothing lost, and the worker goes on."""
    scene = Scene(tmp_path)
    scene.submit(element, payload())
    await scene.run_until_idle()
    (letter,) = scene.dead()
    assert letter["element"] == element
    assert letter["reason"]
    assert scene.statuses() == ["processing", "completed"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user_id": "../other"}, "user_id"),
        ({"config": {"num_images": 2}}, "config.num_images"),
        ({"type": "image_slow"}, "type"),
        ({"prompt": ""}, "prompt"),
        ({"bucket": "private"}, "bucket"),
    ],
)
@story
async def test_a_wrong_payload_fails_with_the_field_and_leaves_the_queue(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(**changes))
    await scene.run_until_idle()
    failed = scene.failure()
    assert failed.job_id == "job-1"
    assert (failed.error_message or "").startswith(f"{field} ")
    assert failed.metadata["error_type"] == "bad_job"
    assert failed.metadata["retryable"] is False
    assert scene.done() == ["failed", "acknowledge"]
    assert scene.dead() == []
    [told] = [message for message in scene.listener.messages if message.kind == "done"]
    assert (told.status, told.error_type, told.reason) == ("failed", "bad_job", failed.error_message)


@story
async def test_a_job_on_the_wrong_queue_fails_and_names_the_right_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload("job-1", "video_fast"))
    await scene.run_until_idle()
    assert "belong on wan_queue" in (scene.failure().error_message or "")
    assert scene.engine.requests == []


@story
async def test_a_refused_prompt_reaches_no_model_and_announces_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(prompt="something forbidden"))
    with structlog.testing.capture_logs() as logs:
        await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.done() == ["failed", "acknowledge"]
    assert scene.failure().metadata["error_type"] == "content_policy"
    assert "something forbidden" not in json.dumps(logs, default=str)


@pytest.mark.parametrize("attempt", [MAX_ATTEMPTS + 1, MAX_ATTEMPTS + 5])
@story
async def test_after_three_attempts_a_job_is_failed_and_put_aside_without_running(tmp_path: Path, attempt: int) -> None:
    """A claim with attempt > 3 does not run: `failed` callback, then dead (design, "Delivery")."""
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=attempt)
    await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.done() == ["failed", "bury"]
    assert f"reason {attempt - 1}" in (scene.failure().error_message or "")
    assert scene.failure().metadata["attempt"] == attempt
    (letter,) = scene.dead()
    assert json.loads(letter["element"])["id"] == "job-1"
    assert len(letter["history"]) == attempt - 1


@story
async def test_the_third_attempt_still_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=MAX_ATTEMPTS)
    scene.rows.statuses["job-1"] = "processing"
    await scene.run_until_idle()
    assert scene.statuses() == ["processing", "completed"]
    assert scene.reporter.last().metadata["attempt"] == MAX_ATTEMPTS


@pytest.mark.parametrize("attempt", [1, MAX_ATTEMPTS + 1])
@story
async def test_a_job_with_a_finished_result_is_not_generated_again(tmp_path: Path, attempt: int) -> None:
    """A redelivered job first looks for a finished result in the spool (design, "Delivery")."""
    scene = Scene(tmp_path)
    spooled(scene.spool, payload())
    scene.submit(payload(), attempt=attempt)
    await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.done() == [f"put {KEY}", "completed", "acknowledge"]
    assert scene.store.files["sdxl_image_fast", KEY] == b"picture 0"
    assert scene.spool.find("job-1") is None


@pytest.mark.parametrize(
    ("error", "error_type", "retryable"),
    [
        (OutOfMemory("the card is full"), "out_of_memory", True),
        (GenerationFailed("the solver diverged"), "generation", True),
        (OutputInvalid("not a number"), "invalid_output", True),
    ],
)
@story
async def test_a_failed_generation_is_classified(
    tmp_path: Path, error: Exception, error_type: str, *, retryable: bool
) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.engine.errors = [error]
    await scene.run_until_idle()
    failed = scene.failure()
    assert failed.error_message == str(error)
    assert (failed.metadata["error_type"], failed.metadata["retryable"]) == (error_type, retryable)
    assert scene.done() == ["processing", "failed", "acknowledge"]


@pytest.mark.parametrize("part", ["engine", "encoder"])
@story
async def test_a_bug_in_a_model_library_fails_the_job_and_not_the_worker(tmp_path: Path, part: str) -> None:
    """One sentence for the user, and the trace in the log only."""
    scene = Scene(tmp_path)
    scene.submit(payload("job-1"), payload("job-2"))
    {"engine": scene.engine.errors, "encoder": scene.encoder.errors}[part].append(KeyError("unet.bias"))
    with structlog.testing.capture_logs() as logs:
        await scene.run_until_idle()
    assert scene.failure().error_message == INTERNAL
    assert "unet.bias" not in json.dumps(scene.failure().metadata)
    assert [line["event"] for line in logs if line.get("exc_info")]
    assert scene.listener.outcomes() == {"job-1": "failed", "job-2": "completed"}


@story
async def test_a_damaged_output_fails_the_job_before_anything_is_sent(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.encoder.errors = [OutputInvalid("the picture 0.png does not decode")]
    await scene.run_until_idle()
    assert scene.store.files == {}
    assert scene.failure().metadata["error_type"] == "invalid_output"


@story
async def test_an_unusable_reference_fails_the_job(tmp_path: Path) -> None:
    """A reference that cannot be used fails the job with a sentence; it is never silently ignored."""
    scene = Scene(tmp_path)
    scene.submit(payload(metadata=REFERENCE))
    scene.references.errors = [ReferenceUnusable("metadata.reference_image_url answered 404")]
    await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.failure().metadata["error_type"] == "reference"


@story
async def test_a_reference_out_of_reach_fails_the_job_and_says_that_a_repeat_may_help(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(metadata=REFERENCE))
    scene.references.errors = [BackendUnavailable("metadata.reference_image_url could not be fetched")]
    await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.failure().error_message == "metadata.reference_image_url could not be fetched"
    assert (scene.failure().metadata["error_type"], scene.failure().metadata["retryable"]) == ("reference", True)


@story
async def test_one_unusable_reference_ends_the_downloads_of_the_others(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    ended: list[str] = []

    async def fetch(reference: Reference) -> ReferenceImage:
        if reference.role == "style":
            raise ReferenceUnusable("references[0].url answered 404")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(reference.role)
        raise AssertionError

    scene.references.fetch = fetch  # type: ignore[method-assign]
    url = REFERENCE["reference_image_url"]
    scene.submit(payload(references=[{"type": role, "url": url} for role in ("style", "composition", "character")]))
    await scene.run_until_idle()
    assert scene.failure().error_message == "references[0].url answered 404"
    assert ended == ["composition", "character"]


@story
async def test_a_reference_reaches_the_engine(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(metadata=REFERENCE))
    await scene.run_until_idle()
    (reference,) = scene.engine.requests[0].references
    assert reference.reference.role == "style"
    assert reference.pixels.shape == (1, 1, 3)


@story
async def test_an_upload_that_is_refused_for_good_fails_the_job(tmp_path: Path) -> None:
    """Over the bucket's limit, type not allowed, bucket missing: no retry helps (contract section 4)."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.store.script.fail_next("put", BackendRefused("the bucket sdxl_image_fast is missing"))
    await scene.run_until_idle()
    assert scene.failure().metadata["error_type"] == "backend"
    assert scene.failure().error_message == "the bucket sdxl_image_fast is missing"
    (parked,) = scene.spool.parked()
    assert parked.reason == "the bucket sdxl_image_fast is missing"
    assert parked.result is not None
    assert parked.result.callback.status == "completed"
    assert scene.dead() == []


@story
async def test_all_uploads_end_before_a_job_is_given_up(tmp_path: Path) -> None:
    """None may write after the job was handed to somebody else."""
    scene = Scene(tmp_path)
    scene.submit(payload(config={"num_images": 3, "seed": 7}))
    scene.store.script.fail_next("put", BackendRefused("too large"))
    first, second = scene.store.script.hold("put"), scene.store.script.hold("put")
    async with scene.working():
        await first.reached()
        await second.reached()
        first.open()  # the third is refused by now
        await eventually(lambda: "put user-1/job-1_0.png" in scene.journal, "the first upload")
        assert "failed" not in scene.statuses()
        second.open()
        await scene.idle()
    assert scene.statuses() == ["processing", "failed"]


@pytest.mark.parametrize("operation", ["put", "completed"])
@story
async def test_a_backend_out_of_reach_costs_no_attempt_and_no_second_generation(tmp_path: Path, operation: str) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    script = scene.store.script if operation == "put" else scene.reporter.script
    script.fail_next(operation, *(BackendUnavailable("cut off") for _ in range(MAX_ATTEMPTS + 2)))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert {message.attempt for message in scene.listener.messages if message.kind == "started"} == {1}
    assert scene.statuses() == ["processing", "completed"]
    assert scene.dead() == []


@story
async def test_a_missing_row_puts_the_job_aside(tmp_path: Path) -> None:
    """Job row missing: retries briefly, then parks it (contract section 5)."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.reporter.script.fail_next("completed", RowMissing("the product has no row for this job"))
    await scene.run_until_idle()
    (letter,) = scene.dead()
    assert letter["reason"] == "the product has no row for this job"
    assert scene.listener.outcomes() == {"job-1": "dead"}
    assert "failed" not in scene.statuses()
    assert [parked.reason for parked in scene.spool.parked()] == ["the product has no row for this job"]


@story
async def test_a_row_that_is_linked_late_costs_no_second_generation(tmp_path: Path) -> None:
    """`completed` before the row is linked is a real race: jobs are queued first (contract section 5)."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.reporter.script.fail_next("completed", RowNotLinked("cannot be completed without an associated image_id"))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert [m.attempt for m in scene.listener.messages if m.kind == "started"] == [1, 1]
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_a_row_that_is_never_linked_does_not_go_round_for_ever(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.reporter.script.fail_next("completed", *(RowNotLinked("not linked") for _ in range(20)))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert scene.statuses() == ["processing", "failed"]
    assert len(scene.dead()) == 1
    assert scene.spool.find("job-1") is not None, "an operator who queues it again finds the result"


@story
async def test_a_failure_that_cannot_be_told_is_told_later(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(config={"num_images": 2}))
    scene.reporter.script.fail_next("failed", BackendUnavailable("cut off"))
    await scene.run_until_idle()
    assert scene.done() == ["requeue", "failed", "acknowledge"]


@pytest.mark.parametrize("refusal", [RowMissing("no row"), BackendRefused("check SUPABASE_SERVICE_KEY")])
@story
async def test_a_failure_that_nobody_wants_to_hear_is_kept_with_both_reasons(
    tmp_path: Path, refusal: Exception
) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(config={"num_images": 2}))
    scene.reporter.script.fail_next("failed", refusal)
    await scene.run_until_idle()
    (letter,) = scene.dead()
    assert letter["reason"].startswith(str(refusal))
    assert "config.num_images must be 1, 3 or 6" in letter["reason"]


@pytest.mark.parametrize("operation", ["put", "completed"])
@story
async def test_a_bug_in_a_delivery_costs_an_attempt_and_not_the_worker(tmp_path: Path, operation: str) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    script = scene.store.script if operation == "put" else scene.reporter.script
    script.fail_next(operation, RuntimeError("a bug"))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert [m.attempt for m in scene.listener.messages if m.kind == "started"] == [1, 2]
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_a_bug_in_every_delivery_ends_with_the_dead_letters(tmp_path: Path) -> None:
    """A finished result that can never be delivered may not go round and round."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.store.script.fail_next("put", *(RuntimeError("a bug") for _ in range(20)))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert len(scene.dead()) == 1


@story
async def test_a_job_whose_delivery_and_hand_back_both_fail_is_found_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.store.script.fail_next("put", RuntimeError("a bug"))
    scene.queue.script.fail_next("requeue", BackendUnavailable("cut off"))
    await scene.run_until_idle()
    assert scene.statuses() == ["processing", "completed"]
    assert len(scene.engine.requests) == 1


@pytest.mark.parametrize("manifest", ["", "[]", '{"bucket": "b"}', '{"callback": {}, "assets": ["x"], "bucket": "b"}'])
@story
async def test_a_damaged_spool_entry_means_generating_again(tmp_path: Path, manifest: str) -> None:
    scene = Scene(tmp_path)
    result = spooled(scene.spool, payload())
    (result.assets[0].asset.path.parent / "result.json").write_text(manifest, encoding="utf-8")
    scene.submit(payload())
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert scene.store.files["sdxl_image_fast", KEY] == b"job-1 7"


@story
async def test_the_deadline_stops_a_generation_at_its_next_step(tmp_path: Path) -> None:
    scene = Scene(tmp_path, job_deadline=0.05)
    scene.submit(payload())
    drawing = scene.engine.hold_at(1)
    async with scene.working():
        await drawing.reached()
        interrupter = scene.interrupter()
        await eventually(lambda: interrupter.seconds_left == 0.0, "the deadline")
        drawing.open()
        await scene.idle()
    failed = scene.failure()
    assert (failed.metadata["error_type"], failed.metadata["retryable"]) == ("deadline", True)
    assert "0.05 s" in (failed.error_message or "")
    assert scene.steps() == []


@story
async def test_the_supervisor_hears_every_part_of_a_job(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    await scene.run_until_idle()
    phases = [message.phase for message in scene.listener.messages if message.kind == "phase"]
    assert phases == ["references", "generating", "encoding", "uploading"]
    done = next(message for message in scene.listener.messages if message.kind == "done")
    assert (done.job_id, done.status) == ("job-1", "completed")
    assert done.seconds is not None


@story
async def test_log_lines_of_a_job_carry_its_id_attempt_and_queue(tmp_path: Path) -> None:
    """Constant event names with `job_id` and `attempt` bound (design, "logs")."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await scene.run_until_idle()
    completed = next(line for line in logs if line["event"] == "job_completed")
    assert (completed["job_id"], completed["attempt"], completed["queue"]) == ("job-1", 1, "sdxl_queue")


@story
async def test_closing_the_courier_closes_both_sides(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.courier.close()
    assert scene.store.closed
    assert scene.reporter.closed

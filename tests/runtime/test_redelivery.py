"""A job that comes again: what was finished, reported or begun in an earlier delivery, and what the product knows."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, Fenced
from ourvidz_worker.runtime import courier, endings
from ourvidz_worker.runtime import worker as worker_module
from ourvidz_worker.runtime.handling import MAX_ATTEMPTS, MAX_DELIVERIES
from tests.runtime.scene import OWNER, Scene, payload, spooled
from tests.support.stories import story
from tests.support.waiting import eventually


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("attempt", [2, MAX_ATTEMPTS + 1])
@story
async def test_what_is_over_is_acknowledged_and_nothing_else(tmp_path: Path, status: str, attempt: int) -> None:
    """Only the acknowledgement of an earlier delivery is missing."""
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=attempt)
    scene.rows.statuses["job-1"] = status
    await scene.run_until_idle()
    assert scene.done() == ["acknowledge"]
    assert scene.engine.requests == []
    assert scene.listener.outcomes() == {"job-1": status}


@pytest.mark.parametrize("status", ["queued", "processing"])
@story
async def test_what_is_not_over_runs_again_and_is_announced(tmp_path: Path, status: str) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=2)
    scene.rows.statuses["job-1"] = status
    await scene.run_until_idle()
    assert scene.statuses() == ["processing", "completed"]


@pytest.mark.parametrize("problem", [BackendUnavailable("cut off"), ConfigurationError("no rights on rows"), None])
@story
async def test_processing_is_not_sent_where_the_row_cannot_be_read(tmp_path: Path, problem: Exception | None) -> None:
    """`processing` after `completed` sets the job back (contract section 5)."""
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=2)
    scene.rows.error = problem
    await scene.run_until_idle()
    assert scene.statuses() == ["completed"]


@pytest.mark.parametrize("cancelled", [False, True])
@story
async def test_failed_is_not_reported_over_completed_because_one_look_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    """The earlier delivery was completed and died before it could acknowledge; the row cannot be read at once."""
    monkeypatch.setattr(courier, "LOOK_PAUSE", 0.0)
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=2 if cancelled else MAX_ATTEMPTS + 1)
    scene.redis.cancelled |= {"job-1"} if cancelled else set()
    scene.rows.statuses["job-1"] = "completed"
    scene.rows.errors = [BackendUnavailable("cut off") for _ in range(3)]
    await scene.run_until_idle()
    assert scene.done() == ["acknowledge"]
    assert scene.listener.outcomes() == {"job-1": "completed"}


@pytest.mark.parametrize("status", ["queued", "processing", "failed", None])
@story
async def test_a_finished_result_is_delivered_unless_the_job_is_over(tmp_path: Path, status: str | None) -> None:
    scene = Scene(tmp_path)
    spooled(scene.spool, payload())
    scene.submit(payload(), attempt=2)
    scene.rows.statuses |= {"job-1": status} if status else {}
    scene.rows.error = None if status else BackendUnavailable("cut off")
    await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.rows.asked == ["job-1"], "a delivery does not wait for a row"
    assert scene.statuses() == ["completed"]


@pytest.mark.parametrize("status", ["completed", "cancelled"])
@story
async def test_a_finished_result_does_not_replace_what_another_pod_delivered(tmp_path: Path, status: str) -> None:
    scene = Scene(tmp_path)
    spooled(scene.spool, payload())
    scene.submit(payload(), attempt=3)
    scene.rows.statuses["job-1"] = status
    await scene.run_until_idle()
    assert scene.done() == ["acknowledge"]
    assert scene.spool.find("job-1") is None


@story
async def test_a_forged_redelivery_without_a_history_is_given_up_like_any_other(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    forged = {"ourvidz_redelivery": {"attempt": 9, "history": [], "element": json.dumps(payload())}}
    scene.submit(json.dumps(forged, separators=(",", ":")))
    await scene.run_until_idle()
    assert scene.statuses() == ["failed"]
    assert len(scene.dead()) == 1


@story
async def test_a_parked_result_is_delivered_when_its_job_comes_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    spooled(scene.spool, payload())
    scene.spool.park("job-1", "the bucket is missing")
    scene.submit(payload())
    await scene.run_until_idle()
    assert scene.engine.requests == []
    assert scene.statuses() == ["completed"]
    assert scene.spool.parked() == []


@story
async def test_a_parked_failure_does_not_keep_its_job_from_running_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.spool.park_callback(spooled(scene.spool, payload("job-2")).callback, "refused")
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1


@story
async def test_a_result_whose_delivery_kills_every_worker_is_parked_in_the_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    spooled(scene.spool, payload())
    scene.submit(payload(), attempt=MAX_DELIVERIES + 1)
    await scene.run_until_idle()
    assert scene.statuses() == ["failed"]
    assert len(scene.dead()) == 1
    assert [parked.job_id for parked in scene.spool.parked()] == ["job-1"]


@story
async def test_a_delivery_from_the_spool_is_charged_if_it_kills_the_worker(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    spooled(scene.spool, payload())
    scene.submit(payload())
    uploading = scene.store.script.hold("put")
    async with scene.working():
        await uploading.reached()
        (held,) = map(open_delivery, scene.held())
        assert held.started
        uploading.open()
        await scene.idle()


@story
async def test_a_start_that_redis_does_not_confirm_ends_with_the_first_step(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.queue.script.fail_next("begin", BackendUnavailable("cut off"))
    await scene.run_until_idle()
    assert "put_back" in scene.journal
    assert {request.job.attempt for request in scene.engine.requests} == {1}
    assert (scene.steps().count(1), scene.steps()[-1]) == (1, 3)
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_the_generation_does_not_wait_for_the_start_to_be_confirmed_and_its_first_step_does(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    beginning, stepping = scene.queue.script.hold("begin"), scene.engine.hold_at(1)
    async with scene.working():
        await beginning.reached()
        await stepping.reached()
        stepping.open()
        second = scene.engine.hold_at(2)
        assert not open_delivery(scene.held()[0]).started
        beginning.open()
        await second.reached()
        assert open_delivery(scene.held()[0]).started
        second.open()
        await scene.idle()
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_a_job_that_comes_again_is_begun_before_anything_is_generated(tmp_path: Path) -> None:
    """It may be what ended its last worker, before Redis could be told; then it must be charged this time."""
    scene = Scene(tmp_path)
    scene.submit(open_delivery(json.dumps(payload())).again("its worker died", charged=False))
    scene.rows.statuses["job-1"] = "queued"
    beginning = scene.queue.script.hold("begin")
    generating = scene.engine.hold_at(1)
    async with scene.working():
        await beginning.reached()
        assert scene.engine.requests == []
        beginning.open()
        await generating.reached()
        assert open_delivery(scene.held()[0]).started
        generating.open()
        await scene.idle()
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_a_start_whose_answer_was_lost_costs_no_attempt(tmp_path: Path) -> None:
    """Redis says begun and the worker does not know: the look-up finds it and queues it as it was."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.queue.script.lose_next_answer("begin")
    await scene.run_until_idle()
    assert {request.job.attempt for request in scene.engine.requests} == {1}
    assert (scene.steps().count(1), scene.steps()[-1]) == (1, 3)
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_a_start_after_the_lease_lapsed_is_none(tmp_path: Path) -> None:
    """The job may run elsewhere by now."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    beginning = scene.queue.script.hold("begin")
    async with scene.ending_with(Fenced, match="lapsed"):
        await beginning.reached()
        scene.redis.leases.clear()
        beginning.open()
    assert scene.steps() == []
    assert scene.statuses() == []


@story
async def test_a_worker_that_comes_back_under_its_name_finds_what_it_held(tmp_path: Path) -> None:
    """The held list is looked up at boot."""
    scene = Scene(tmp_path)
    begun = open_delivery(json.dumps(payload("job-1"))).begun("a1")
    scene.redis.held[OWNER] = [begun, json.dumps(payload("job-2"))]
    async with scene.working():
        await eventually(lambda: scene.statuses().count("completed") == 2, "both jobs")
    assert {r.job.id: r.job.attempt for r in scene.engine.requests} == {"job-1": 2, "job-2": 1}


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("row", ["processing", "completed"])
@story
async def test_a_start_that_arrives_late_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: int, row: str
) -> None:
    """A start that was never answered, or one of an earlier delivery, may be carried out after the final status."""
    monkeypatch.setattr(courier, "SECOND_LOOKS", (0.01,))
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=attempt)
    scene.reporter.script.fail_next("processing", BackendUnavailable("no answer in time"))
    scene.rows.statuses["job-1"] = "processing"
    async with scene.working():
        await eventually(lambda: "completed" in scene.statuses(), "the first report")
        scene.rows.statuses["job-1"] = row
        await eventually(lambda: not scene.courier._second_looks, "the second look")
        await scene.idle()
    assert scene.statuses() == ["completed"] * (2 if row == "processing" else 1)


@story
async def test_a_worker_that_stops_looks_once_more(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=2)
    scene.rows.statuses["job-1"] = "processing"
    await scene.run_until_idle()
    assert len(scene.courier._second_looks) == 1
    await scene.courier.close()
    assert scene.statuses() == ["processing", "completed", "completed"]
    await eventually(lambda: not scene.courier._second_looks, "the end of the look that was cancelled")


@story
async def test_the_next_process_goes_on_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies within seconds of its report leaves the look to the one after it."""
    scene = Scene(tmp_path)
    scene.submit(payload(), attempt=2)
    scene.rows.statuses["job-1"] = "processing"
    await scene.run_until_idle()
    assert [callback.job_id for callback in scene.spool.doubtful()] == ["job-1"]
    monkeypatch.setattr(courier, "SECOND_LOOKS", (0.0,))
    successor = Scene(tmp_path)
    successor.rows.statuses["job-1"] = "processing"
    successor.courier.resume()
    await eventually(lambda: not successor.courier._second_looks, "the look")
    assert successor.reporter.callbacks == [scene.reporter.last()]
    assert successor.spool.doubtful() == []
    await scene.courier.close()


@pytest.mark.usefixtures("no_delivery_grace")
@story
async def test_no_end_is_reported_while_the_start_is_still_under_way(tmp_path: Path) -> None:
    """A drain cuts the wait short; the next delivery reports the end, from the spool."""
    scene = Scene(tmp_path, grace_period=0.0)
    scene.submit(payload())
    announcing = scene.reporter.script.hold("processing")
    async with scene.working() as running:
        await announcing.reached()
        await eventually(lambda: scene.spool.find("job-1") is not None, "the result")
        scene.worker.stop()
        await running
        announcing.open()
    assert "completed" not in scene.statuses()
    assert scene.attempts() == [1]
    assert scene.spool.find("job-1") is not None


@story
async def test_no_row_is_looked_at_again_where_every_start_was_answered(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    await scene.run_until_idle()
    assert not scene.courier._second_looks
    assert scene.rows.asked == []


@story
async def test_a_second_look_that_fails_is_only_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "SECOND_LOOKS", (0.0,))
    scene = Scene(tmp_path)
    scene.rows.statuses["job-1"] = "processing"
    scene.reporter.script.fail_next("processing", BackendUnavailable("cut off"))
    scene.submit(payload(), attempt=2)
    async with scene.working():
        await eventually(lambda: "completed" in scene.statuses(), "the first report")
        scene.reporter.script.fail_next("completed", BackendRefused("no"))
        await eventually(lambda: not scene.courier._second_looks, "the second look")
        await scene.idle()
    assert scene.dead() == []


@story
async def test_a_result_is_on_the_disk_before_a_slow_start_is_reported(tmp_path: Path) -> None:
    """The report of the start may wait for seconds, and a kill meanwhile must not cost the generation."""
    scene = Scene(tmp_path)
    scene.submit(payload())
    announcing = scene.reporter.script.hold("processing")
    async with scene.working():
        await announcing.reached()
        await eventually(lambda: scene.spool.find("job-1") is not None, "the result")
        assert scene.done() == []
        announcing.open()
        await scene.idle()
    assert scene.statuses() == ["processing", "completed"]


@story
async def test_a_full_disk_stops_claiming_and_recovers_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "SHORTAGE_PAUSE", 0.001)
    scene = Scene(tmp_path)
    scene.shortage = "the spool has 3 MB free"
    scene.submit(payload())
    async with scene.working():
        await eventually(lambda: "FAILED" in scene.listener.states(), "the state")
        (message,) = [m for m in scene.listener.messages if m.state == "FAILED"]
        assert message.reason == "the spool has 3 MB free"
        assert "claim" not in scene.journal
        scene.shortage = None
        await scene.idle()
    assert scene.statuses() == ["processing", "completed"]
    assert scene.listener.states().count("FAILED") == 1


@story
async def test_what_was_generated_waits_for_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "NO_ROOM_PAUSE", 0.001)
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.encoder.errors = [OSError(errno.ENOSPC, "No space left on device") for _ in range(3)]
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1
    assert scene.statuses() == ["processing", "completed"]

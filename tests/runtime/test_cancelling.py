"""A job that the user does not want any more: stopped at its next step, reported, and the card is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.runtime import handling
from ourvidz_worker.runtime.lease import LeaseTimes
from tests.runtime.scene import Scene, payload
from tests.support.stories import story
from tests.support.waiting import eventually


@story
async def test_a_job_that_was_cancelled_on_the_queue_is_stopped_at_its_first_step(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.redis.cancelled.add("job-1")
    await scene.run_until_idle()
    assert scene.steps() == []
    assert scene.statuses() == ["failed"]
    failed = scene.failure()
    assert (failed.error_message, failed.metadata["error_type"]) == ("the job was cancelled", "cancelled")
    assert failed.metadata["retryable"] is False
    assert scene.listener.outcomes() == {"job-1": "cancelled"}


@story
async def test_a_renewal_stops_a_cancelled_generation_at_its_next_step_and_the_next_job_runs(tmp_path: Path) -> None:
    scene = Scene(tmp_path, lease=LeaseTimes(0.3))
    scene.submit(payload("job-1"), payload("job-2"))
    drawing = scene.engine.hold_at(2)
    async with scene.working():
        await drawing.reached()
        scene.redis.cancelled.add("job-1")
        await scene.told_to_stop()
        drawing.open()
        await scene.idle()
    assert scene.steps() == [1]
    assert scene.listener.outcomes() == {"job-1": "cancelled", "job-2": "completed"}
    assert scene.held() == []


@story
async def test_cancelling_costs_no_command_of_its_own(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    await scene.run_until_idle()
    commands = [entry for entry in scene.journal if entry in ("claim", "begin", "renew", "acknowledge")]
    assert commands == ["claim", "begin", "acknowledge"]


@story
async def test_another_jobs_cancellation_stops_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, lease=LeaseTimes(0.3))
    scene.submit(payload())
    drawing = scene.engine.hold_at(2)
    scene.redis.cancelled.add("job-2")
    async with scene.working():
        await drawing.reached()
        renewals = scene.journal.count("renew")
        await eventually(lambda: scene.journal.count("renew") > renewals, "a renewal")
        drawing.open()
        await scene.idle()
    assert scene.listener.outcomes() == {"job-1": "completed"}


@story
async def test_a_row_that_says_cancelled_stops_the_job_and_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later profile's rows know the status `cancelled`, and a `failed` would replace it."""
    monkeypatch.setattr(handling, "ROW_LOOK_SECONDS", 0.001)
    scene = Scene(tmp_path, rows_tell=True)
    scene.submit(payload())
    drawing = scene.engine.hold_at(2)
    async with scene.working():
        await drawing.reached()
        scene.rows.statuses["job-1"] = "cancelled"
        await scene.told_to_stop()
        drawing.open()
        await scene.idle()
    assert "failed" not in scene.statuses()
    assert scene.listener.outcomes() == {"job-1": "cancelled"}


@pytest.mark.parametrize("status", [None, "queued", "processing"])
@story
async def test_a_row_that_says_anything_else_stops_nothing(tmp_path: Path, status: str | None) -> None:
    scene = Scene(tmp_path, rows_tell=True)
    scene.submit(payload())
    if status is None:
        scene.rows.error = BackendUnavailable("cut off")
    else:
        scene.rows.statuses["job-1"] = status
    await scene.run_until_idle()
    assert scene.statuses() == ["processing", "completed"]
    assert scene.rows.asked == ["job-1"]


@story
async def test_rows_of_the_older_profile_are_not_asked_for_a_first_delivery(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    await scene.run_until_idle()
    assert scene.rows.asked == []


@story
async def test_a_cancellation_that_cannot_be_told_is_told_later(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.submit(payload())
    scene.redis.cancelled.add("job-1")
    scene.reporter.script.fail_next("failed", BackendUnavailable("cut off"))
    await scene.run_until_idle()
    assert scene.steps() == []
    assert scene.statuses() == ["failed"]

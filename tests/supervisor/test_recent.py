"""What an operator may still read of a worker's last jobs."""

from __future__ import annotations

import pytest

from ourvidz_worker.control import Message
from ourvidz_worker.supervisor.recent import FAILURES_KEPT, RATE_WINDOW, Recent
from ourvidz_worker.supervisor.worker_view import WorkerView


def failed(view: WorkerView, job_id: str = "a", reason: str = "the card is full") -> None:
    view.heard(Message("started", job_id=job_id, job_type="video_fast", attempt=2))
    view.heard(Message("done", job_id=job_id, status="failed", reason=reason, error_type="out_of_memory"))


def test_a_failure_is_kept_with_its_job() -> None:
    view = WorkerView()
    failed(view)
    view.heard(Message("done", job_id="b", status="failed", error_type="bad_job"))  # it never started
    never_started, [kept] = view.as_json()["failures"][0], view.as_json()["failures"][1:]
    assert (kept["job_id"], kept["job_type"], kept["attempt"]) == ("a", "video_fast", 2)
    assert (kept["error_type"], kept["reason"]) == ("out_of_memory", "the card is full")
    assert (never_started["job_type"], never_started["error_type"]) == (None, "bad_job")


@pytest.mark.parametrize("status", ["completed", "cancelled", "requeued"])
def test_what_came_to_another_end_is_no_failure(status: str) -> None:
    view = WorkerView()
    view.heard(Message("done", job_id="a", status=status))
    assert view.as_json()["failures"] == []


def test_only_the_last_failures_are_kept_and_the_newest_comes_first() -> None:
    view = WorkerView()
    for number in range(FAILURES_KEPT + 5):
        failed(view, reason=f"failure {number}")
    reasons = [failure["reason"] for failure in view.as_json()["failures"]]
    assert (len(reasons), reasons[0], reasons[-1]) == (FAILURES_KEPT, f"failure {FAILURES_KEPT + 4}", "failure 5")


def test_failures_outlive_the_process_that_failed() -> None:
    view = WorkerView()
    failed(view)
    view.restarted()
    assert len(view.as_json()["failures"]) == 1


def test_the_rate_is_that_of_the_last_minutes() -> None:
    moments = [1000.0]
    recent = Recent(clock=lambda: moments[-1])
    for _ in range(3):
        recent.ended("a", Message("done", status="completed"), job_type=None, attempt=None)
    assert recent.per_minute() == 3.0, "of one minute at least"
    moments.append(1120.0)
    assert recent.per_minute() == 1.5
    moments.append(1120.0 + RATE_WINDOW)
    assert recent.per_minute() == 0.0


def test_a_worker_and_its_job_say_since_when() -> None:
    view = WorkerView()
    view.heard(Message("started", job_id="a", job_type="video_fast", attempt=1))
    view.begun -= 65.0
    view.jobs["a"].begun -= 5.0
    told = view.as_json()
    assert (round(told["uptime_seconds"]), round(told["jobs"][0]["seconds"])) == (65, 5)
    view.restarted()
    assert view.as_json()["uptime_seconds"] < 60.0

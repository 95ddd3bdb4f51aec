"""What the SDK is given for a job: the callback's body, or one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.backend.handed_queue import Leaving
from ourvidz_worker.contract.callback import Callback, CallbackProfile, callback_body

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: how it left its queue, its last report, and what the worker called its end.

    `gone` says that the worker has ended, so that the pod must be refreshed.
    """

    leaving: Leaving
    report: Callback | None = None
    status: str | None = None
    gone: bool = False


def answer_of(outcome: Outcome, profile: CallbackProfile) -> Answer:
    """`error` makes the SDK call the job failed; what stands beside it is its output."""
    answer = _told(outcome, profile)
    return {**answer, "refresh_worker": True} if outcome.gone else answer


def _told(outcome: Outcome, profile: CallbackProfile) -> Answer:
    leaving, report = outcome.leaving, outcome.report
    if report is not None:
        return _reported(report, profile)
    if leaving.way != "acknowledged":
        return {"error": leaving.reason}
    status = outcome.status or "completed"
    if status == "completed":
        return {"status": status, "assets": []}
    return {"error": f"the product has the job as {status} already"}


def _reported(report: Callback, profile: CallbackProfile) -> Answer:
    body: Answer = json.loads(callback_body(report, profile))
    error = body.pop("error_message")
    if (seed := report.metadata.get("seed")) is not None:
        body["seed"] = seed
    return {**body, "error": error} if error else body

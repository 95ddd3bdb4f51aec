"""What the supervisor knows of a worker, from its announcements alone."""

from __future__ import annotations

import binascii
import time
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any

from ourvidz_worker.control import Held, Message, WorkerState
from ourvidz_worker.supervisor.recent import Recent

GB = 1e9


@dataclass(slots=True)
class JobView:
    """A job in progress: the part of the work it is in, and `step` of `steps` denoising steps."""

    id: str
    type: str
    attempt: int
    phase: str = "claimed"
    step: int = 0
    steps: int = 0
    picture: bytes | None = None
    pictures: int = 0
    begun: float = field(default_factory=time.monotonic)

    def as_json(self) -> dict[str, Any]:
        """`seconds` since its start; `previews` counts them, so that whoever shows one knows of a newer one."""
        return {
            "id": self.id,
            "type": self.type,
            "attempt": self.attempt,
            "phase": self.phase,
            "step": self.step,
            "steps": self.steps,
            "seconds": _seconds_since(self.begun),
            "previews": self.pictures,
        }

    def show(self, picture: str) -> None:
        try:
            self.picture = b64decode(picture, validate=True)
        except binascii.Error:
            return
        self.pictures += 1


@dataclass(slots=True)
class WorkerView:
    """State and the problem behind it, counts by outcome, the length of its queue, and its jobs in progress.

    `held` is what lies on the card, and `card_bytes` what it takes with the workspace of the stage it is in.
    """

    state: WorkerState = WorkerState.STARTING
    problem: str | None = None
    outcomes: dict[str, int] = field(default_factory=dict)
    waiting: int | None = None
    jobs: dict[str, JobView] = field(default_factory=dict)
    held: tuple[Held, ...] = ()
    card_bytes: int = 0
    recent: Recent = field(default_factory=Recent)
    begun: float = field(default_factory=time.monotonic)

    def heard(self, message: Message) -> None:
        if message.kind == "state" and message.state is not None:
            self.state, self.problem = message.state, message.reason
        elif message.kind == "fenced":
            self.problem = message.reason
        elif message.kind == "poll":
            self.waiting = message.waiting
        elif message.kind == "card":
            self.held, self.card_bytes = message.held or (), message.bytes or 0
        elif message.job_id is not None:
            self._heard_of_job(message.job_id, message)

    def _heard_of_job(self, job_id: str, message: Message) -> None:
        if message.kind == "started":
            self.jobs[job_id] = JobView(job_id, message.job_type or "", message.attempt or 1)
        elif message.kind == "done":
            over = self.jobs.pop(job_id, None)
            status = message.status or "unknown"
            self.outcomes[status] = self.outcomes.get(status, 0) + 1
            job_type, attempt = (over.type, over.attempt) if over else (None, None)
            self.recent.ended(job_id, message, job_type=job_type, attempt=attempt)
        elif (job := self.jobs.get(job_id)) is None:
            return
        elif message.kind == "phase":
            job.phase = message.phase or ""
        elif message.kind == "step":
            job.step, job.steps = message.step or 0, message.steps or 0
        elif message.kind == "preview" and message.picture is not None:
            job.show(message.picture)

    def picture_of(self, job_id: str) -> bytes | None:
        job = self.jobs.get(job_id)
        return job.picture if job else None

    def restarted(self) -> None:
        """A new process knows nothing of the jobs of the one before it, and holds nothing of what that held."""
        self.state, self.problem = WorkerState.STARTING, None
        self.held, self.card_bytes = (), 0
        self.jobs.clear()
        self.begun = time.monotonic()

    def as_json(self) -> dict[str, Any]:
        return {
            "state": self.state.value,
            "uptime_seconds": _seconds_since(self.begun),
            "outcomes": dict(self.outcomes),
            "completed_per_minute": round(self.recent.per_minute(), 2),
            "failures": self.recent.failures_as_json(),
            "waiting": self.waiting,
            "jobs": [job.as_json() for job in self.jobs.values()],
            "card": {
                "gb": round(self.card_bytes / GB, 3),
                "components": [
                    {"name": held.name, "gb": round(held.bytes / GB, 3), "in_use": held.idle_since is None}
                    for held in self.held
                ],
            },
        }

    def held_gb(self) -> dict[str, float]:
        """What each component on the card takes."""
        return {held.name: round(held.bytes / GB, 2) for held in self.held}


def _seconds_since(begun: float) -> float:
    return round(time.monotonic() - begun, 1)

"""Telling the supervisor how a job goes on."""

from __future__ import annotations

import time

from ourvidz_worker.contract.job import Job
from ourvidz_worker.control import Announcer, Message
from ourvidz_worker.instruments import jobs

_STEP_INTERVAL = 0.1


class Silent:
    """An announcer for a worker without a supervisor."""

    def announce(self, message: Message) -> None:
        pass


class Progress:
    """The announcements of one job. Steps are thinned to ten a second; the last one always goes out."""

    def __init__(self, job: Job, announcer: Announcer) -> None:
        self._job = job
        self._announcer = announcer
        self._begun = time.monotonic()
        self._last_step = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def started(self) -> None:
        self._announcer.announce(
            Message("started", job_id=self._job.id, job_type=self._job.type.name, attempt=self._job.attempt)
        )

    def phase(self, name: str) -> None:
        self._announcer.announce(Message("phase", job_id=self._job.id, phase=name))

    def step(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._last_step < _STEP_INTERVAL:
            return
        self._last_step = now
        self._announcer.announce(Message("step", job_id=self._job.id, step=done, steps=total))

    def done(self, status: str, reason: str | None = None, error_type: str | None = None) -> None:
        jobs.ended(self._job, status, seconds=self.seconds, error_type=error_type)
        self._announcer.announce(
            Message(
                "done",
                job_id=self._job.id,
                status=status,
                seconds=self.seconds,
                reason=reason,
                error_type=error_type,
            )
        )

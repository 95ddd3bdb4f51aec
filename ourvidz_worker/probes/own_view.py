"""A worker's view of itself: it hears its own announcements, and passes them on."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ourvidz_worker import __version__
from ourvidz_worker.control import Announcer, Health, Message, WorkerKind
from ourvidz_worker.supervisor.worker_view import WorkerView


class OwnView:
    """An `Announcer` before another one, and the `Subject` of this process's probes."""

    def __init__(self, name: str, listener: Announcer, *, kind: WorkerKind | None = None) -> None:
        """`name` is that of the worker in its pod, which tells apart several of a `kind`."""
        self._name = name
        self._kind = kind or name
        self._listener = listener
        self._view = WorkerView()
        self._begun = time.monotonic()

    def announce(self, message: Message) -> None:
        self._view.heard(message)
        self._listener.announce(message)

    def health(self) -> Health:
        return Health(self._view.state, self._view.problem)

    def as_json(self) -> Mapping[str, Any]:
        uptime = round(time.monotonic() - self._begun, 1)
        worker = {"kind": self._kind, "pid": os.getpid(), "problem": self._view.problem, **self._view.as_json()}
        return {"version": __version__, "uptime_seconds": uptime, "workers": {self._name: worker}}

    def preview(self, job_id: str) -> bytes | None:
        return self._view.picture_of(job_id)

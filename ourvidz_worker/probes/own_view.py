"""A worker's view of itself: it hears its own announcements, and passes them on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from ourvidz_worker import __version__
from ourvidz_worker.control import Announcer, Health, Message, WorkerKind, WorkerState
from ourvidz_worker.instruments import metrics
from ourvidz_worker.supervisor.watch import Hang, Limits, Watch
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
        self._watch: Watch | None = None
        self._hang: Hang | None = None
        self._fenced = False

    def announce(self, message: Message) -> None:
        self._view.heard(message)
        self._fenced = self._fenced or message.kind == "fenced"
        if self._watch is not None:
            self._watch.heard(message)
        self._listener.announce(message)

    async def watch(self, limits: Limits) -> None:
        """Notice a hang, as an orchestrator would, where there is none; run until cancelled."""
        watch = self._watch = Watch(limits)
        while True:
            await asyncio.sleep(watch.interval)
            self._hang = watch.look()

    def health(self) -> Health:
        if self._hang is not None:
            return Health(WorkerState.FAILED, self._hang.reason, beyond_help=True)
        return Health(self._view.state, self._view.problem, beyond_help=self._fenced)

    def measure(self) -> None:
        name, view = self._name, self._view
        metrics.show_state(metrics.WORKER_STATE, name, self.health().state)
        metrics.JOBS_IN_PROGRESS.labels(name).set(len(view.jobs))
        metrics.GPU_WORKER_BYTES.labels(name).set(view.card_bytes)
        metrics.GPU_COMPONENT_BYTES.clear()
        for held in view.held:
            metrics.GPU_COMPONENT_BYTES.labels(name, held.name).set(held.bytes)
        if self._kind == "qwen" and view.waiting is not None:
            metrics.REQUESTS_WAITING.labels(name).set(view.waiting)

    def as_json(self) -> Mapping[str, Any]:
        uptime = round(time.monotonic() - self._begun, 1)
        worker = {"kind": self._kind, "pid": os.getpid(), "problem": self._view.problem, **self._view.as_json()}
        return {"version": __version__, "uptime_seconds": uptime, "workers": {self._name: worker}}

    def preview(self, job_id: str) -> bytes | None:
        return self._view.picture_of(job_id)

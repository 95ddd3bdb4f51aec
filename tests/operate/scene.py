"""An embedded backend with its operator's page, and a scripted pod; and a hand in what lies there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ourvidz_worker.cli.embedded import serving
from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.contract.envelope import Delivery
from ourvidz_worker.local import EmbeddedBackend
from ourvidz_worker.ports import Asset
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset
from tests.operate.scripted_pod import BUSY, ScriptedPod
from tests.support.commands import PAYLOADS
from tests.support.embedded import JOB_TYPES
from tests.support.loop_thread import LoopThread

PICTURE = b"\x89PNG of a lighthouse"
DIED_AT = "2026-01-02T03:04:05+00:00"


@dataclass
class Scene:
    backend: EmbeddedBackend
    pod: ScriptedPod
    spool: Spool
    environment: dict[str, str]
    loop: LoopThread

    @property
    def url(self) -> str:
        return f"{self.backend.url}/operator"

    def redis(self, *command: str | bytes) -> Any:
        return self.loop.run(self.backend._redis.execute(list(command)))

    def submit(self, name: str = "sdxl_image_fast", **changes: Any) -> str:
        payload = json.loads((PAYLOADS / f"{name}.json").read_text())
        return self.loop.run(self.backend.submit({**payload, "id": str(uuid4()), **changes}))

    def taken(self, queue: str = "sdxl_queue") -> str:
        """The element of the job that was submitted last, out of its queue."""
        element: bytes = self.redis("LPOP", queue)
        return element.decode()

    def bury(self, element: str, reason: str = "it died 3 times", *, queue: str = "sdxl_queue") -> None:
        letter = Delivery(element, 3, ("the worker was killed",)).dead_letter(reason, died_at=DIED_AT)
        self.redis("LPUSH", f"{queue}:dead", letter.encode("utf-8", "surrogateescape"))

    def park(self, job_id: str, reason: str = "the bucket was missing") -> None:
        key = f"somebody/{job_id}_0.png"
        file = self.spool.draft(job_id) / "0.png"
        file.write_bytes(PICTURE)
        asset = Asset(file, "image/png", len(PICTURE), width=1024, height=1024, frames=1, seed=7)
        callback = Callback(job_id, "completed", (ReportedAsset(key, "image", 1024, 1024, 7),), metadata={"seed": 7})
        self.spool.save(Result("sdxl_image_fast", (StoredAsset(key, asset),), callback))
        self.spool.park(job_id, reason)

    def status_of(self, job_id: str) -> str:
        job = self.backend.job(job_id)
        assert job is not None
        return str(job["status"])

    def status_becomes(self, job_id: str, status: str) -> None:
        self.backend._database.update("jobs", {"status": status}, "id = ?", [job_id])

    def clear(self) -> None:
        self.redis("FLUSHDB")
        for entry in self.spool.parked():
            self.spool.discard(entry.job_id)
        self.pod.status = BUSY


@contextmanager
def operated_scene(folder: Path) -> Iterator[Scene]:
    loop = LoopThread("operated-backend")
    loop.start()
    try:
        with ScriptedPod(BUSY) as pod:
            backend = EmbeddedBackend(data=folder / "data", catalogue=parse_catalogue(JOB_TYPES.read_text()))
            spool = {"OURVIDZ_SPOOL": str(folder / "spool")}
            stack = AsyncExitStack()
            served = serving(backend, enhancer_url=None, time_limit=1, pods=[pod.address], variables=spool)
            loop.run(stack.enter_async_context(served))
            environment = {**backend.environment(), **spool, "OURVIDZ_STATUS_URL": pod.address}
            try:
                yield Scene(backend, pod, Spool(folder / "spool"), environment, loop)
            finally:
                loop.run(stack.aclose())
    finally:
        loop.stop()

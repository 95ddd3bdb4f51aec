"""A worker among fakes, and the words to tell a story about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.control import Message
from ourvidz_worker.ports import Asset, ContentPolicy
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.handling import Handler, Terms
from ourvidz_worker.runtime.holdings import Holdings
from ourvidz_worker.runtime.inspection import Inspection
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.lease import LeaseKeeper, LeaseTimes
from ourvidz_worker.runtime.patience import Patience
from ourvidz_worker.runtime.preparation import Preparation
from ourvidz_worker.runtime.reaper import Reaper
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset
from ourvidz_worker.runtime.studio import Studio
from ourvidz_worker.runtime.worker import Worker
from tests.support.fakes import (
    FakeEncoder,
    FakeEngine,
    FakeEnhancer,
    FakeQueue,
    FakeReferences,
    FakeReporter,
    FakeRows,
    FakeStore,
    Listener,
    OneWordPolicy,
    Script,
)
from tests.support.memory import MemoryRedis
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
CATALOGUE = parse_catalogue((ROOT / "configs" / "job_types.toml").read_text(encoding="utf-8"))
OWNER = "pod-1"


def payload(job_id: str = "job-1", job_type: str = "sdxl_image_fast", /, **changes: Any) -> dict[str, Any]:
    return {
        "id": job_id,
        "type": job_type,
        "prompt": "a lighthouse",
        "user_id": "user-1",
        "config": {"num_images": 1, "seed": 7},
        "metadata": {},
        **changes,
    }


def job_of(document: Mapping[str, Any]) -> Job:
    return parse_job(open_delivery(json.dumps(document)), CATALOGUE)


def spooled(spool: Spool, document: Mapping[str, Any]) -> Result:
    """A finished result of this payload on disk, as a worker leaves it behind that died while delivering."""
    job = job_of(document)
    folder = spool.draft(job.id)
    stored = []
    for index, seed in enumerate(job.seeds(job.seed or 0)):
        path = folder / f"{index}.png"
        path.write_bytes(f"picture {index}".encode())
        asset = Asset(path, job.type.media_type, path.stat().st_size, job.width, job.height, 1, seed)
        stored.append(StoredAsset(f"{job.user_id}/{job.id}_{index}.png", asset))
    reported = tuple(ReportedAsset(s.key, "image", s.asset.width, s.asset.height, s.asset.seed) for s in stored)
    callback = Callback(job.id, "completed", reported, metadata={"seed": job.seed, "attempt": job.attempt})
    return spool.save(Result(job.bucket, tuple(stored), callback))


class Scene:
    """Everything around one worker. `working()` runs it; afterwards everything can be looked at."""

    def __init__(
        self,
        folder: Path,
        *,
        queue: str = "sdxl_queue",
        enhancer: FakeEnhancer | None = None,
        grace_period: float = 5.0,
        job_deadline: float = 60.0,
        poll_seconds: float = 0.005,
        steps: int = 3,
        rows_tell: bool = False,
        most_images: int = 1,
        poll_limit: float = 0.0,
        lease: LeaseTimes | None = None,
        policy: ContentPolicy | None = None,
        adult_capable: bool = False,
    ) -> None:
        self.journal: list[str] = []
        self.redis = MemoryRedis()
        self.queue = FakeQueue(self.redis, Script(self.journal), name=queue, owner=OWNER)
        self.store = FakeStore(Script(self.journal))
        self.reporter = FakeReporter(Script(self.journal))
        self.engine = FakeEngine(steps=steps)
        self.encoder = FakeEncoder()
        self.references = FakeReferences()
        self.spool = Spool(folder / "spool")
        self.listener = Listener()
        self.rows = FakeRows()
        self.holdings = Holdings(self.queue)
        self.lease = LeaseKeeper(self.queue, self.holdings, lease or LeaseTimes())
        self.courier = Courier(self.store, self.reporter, self.rows, self.spool, guard=self.lease.check)
        inspection = Inspection(policy or OneWordPolicy(), adult_capable=adult_capable)
        self.preparation = Preparation(
            engine=self.engine,
            enhancer=enhancer,
            references=self.references,
            inspection=inspection,
            enhancement_limit=60.0,
        )
        self.studio = Studio(
            engine=self.engine,
            encoder=self.encoder,
            inspection=inspection,
            spool=self.spool,
            layout="current",
        )
        self.handler = Handler(
            queue=self.queue,
            holdings=self.holdings,
            lease=self.lease,
            catalogue=CATALOGUE,
            preparation=self.preparation,
            studio=self.studio,
            courier=self.courier,
            spool=self.spool,
            announcer=self.listener,
            terms=Terms(job_deadline=job_deadline, most_images=most_images, rows_tell=rows_tell),
        )
        self.shortage: str | None = None
        self.worker = Worker(
            queue=self.queue,
            holdings=self.holdings,
            lease=self.lease,
            reaper=Reaper(self.queue, self.holdings, self.spool, lease_seconds=90.0, interval=300.0),
            studio=self.studio,
            handler=self.handler,
            announcer=self.listener,
            shortage=lambda: self.shortage,
            patience=Patience(poll_seconds, poll_limit),
            grace_period=grace_period,
        )

    def submit(self, *jobs: Mapping[str, Any] | str, attempt: int = 1) -> None:
        """Queue payloads, or elements as they are, the first one next; an attempt above 1 is a redelivery."""
        for job in jobs:
            element = job if isinstance(job, str) else json.dumps(job)
            for number in range(1, attempt):
                element = open_delivery(element).again(f"reason {number}", charged=True)
            self.redis.queue.insert(0, element)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[asyncio.Task[None]]:
        """The worker runs; at the end of the block it is stopped, and what it raised is raised."""
        running = asyncio.create_task(self.worker.run())
        try:
            yield running
            self.worker.stop()
            await running
        finally:
            await self._close(running)

    @asynccontextmanager
    async def ending_with(self, error: type[BaseException], match: str | None = None) -> AsyncIterator[None]:
        """The worker runs, and after the block it ends by itself with this error."""
        running = asyncio.create_task(self.worker.run())
        try:
            yield
            with pytest.raises(error, match=match):
                await running
        finally:
            await self._close(running)

    async def _close(self, running: asyncio.Task[None]) -> None:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await self.preparation.close()
        await self.studio.close()

    async def run_until_idle(self) -> None:
        """Start, work off the queue, stop."""
        async with self.working():
            await self.idle()

    async def idle(self) -> None:
        await eventually(lambda: not self.redis.queue and not self.held(), "working off the queue")

    def interrupter(self, job_id: str = "job-1") -> Interrupter:
        """What stops a job that is on its way to the card or on it."""
        (found,) = [work.interrupter for work in self.handler._works if work.job.id == job_id]
        return found

    async def told_to_stop(self, job_id: str = "job-1") -> None:
        """The job is on the card, and was told to leave it."""
        interrupter = self.interrupter(job_id)
        await eventually(lambda: interrupter._interruption is not None, f"the interruption of {job_id}")

    async def waiting(self, job_id: str) -> None:
        """The job has all it needs except the card."""
        message = Message("phase", job_id=job_id, phase="waiting")
        await eventually(lambda: message in self.listener.messages, f"{job_id} waiting for the card")

    def steps(self, job_id: str = "job-1") -> list[int | None]:
        """The steps after which the generation went on."""
        return [m.step for m in self.listener.messages if m.kind == "step" and m.job_id == job_id]

    def held(self) -> list[str]:
        return self.redis.held[OWNER]

    def attempts(self) -> list[int]:
        """The attempt counts of what waits, as it would be claimed."""
        return [open_delivery(element).attempt for element in reversed(self.redis.queue)]

    def dead(self) -> list[dict[str, Any]]:
        return [json.loads(letter) for letter in self.redis.dead]

    def statuses(self) -> list[str]:
        return [callback.status for callback in self.reporter.callbacks]

    def failure(self) -> Callback:
        """The one callback that says `failed`."""
        (failed,) = [callback for callback in self.reporter.callbacks if callback.status == "failed"]
        return failed

    def done(self) -> list[str]:
        """The journal without the polling."""
        polling = ("length", "claim", "begin", "held", "reap", "renew")
        return [entry for entry in self.journal if entry not in polling]

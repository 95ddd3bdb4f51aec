"""A studio whose work takes virtual seconds, and the store it delivers to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import httpx
import numpy as np

from ourvidz_worker.backend.retrying import Sleep, retrying
from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import BackendRefused, BackendUnavailable
from ourvidz_worker.ports import Asset, BucketLimit, Generation, GenerationRequest
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset
from ourvidz_worker.runtime.studio import Drawn, Studio
from tests.model.far_side import PRODUCT_URL, STORAGE_PATH
from tests.model.oracle import Oracle
from tests.model.world import Process

_NO_FRAMES = np.zeros((0, 0, 0, 3), np.uint8)
_UPLOAD_SECONDS = 60.0
_RETRY_SECONDS = 120.0


class ModelStudio(Studio):
    """Goes the way of the real one, with sleep in place of work; a poisonous job kills the process at a step."""

    def __init__(
        self, process: Process, oracle: Oracle, *, spool: Spool, spool_name: str, poison: Mapping[str, int]
    ) -> None:
        self._process = process
        self._oracle = oracle
        self._spool = spool
        self._spool_name = spool_name
        self._poison = poison
        self._random = process.world.random

    async def open(self) -> None:
        await asyncio.sleep(self._random.uniform(0.5, 5))

    async def close(self) -> None:
        """There is no thread to free."""

    def check(self, job: Job) -> None:
        """Every prompt is fine."""

    async def draw(
        self, job: Job, interrupter: Interrupter, progress: Progress, begin: Callable[[], Awaitable[None]]
    ) -> Drawn:
        await interrupter.run(asyncio.sleep(self._random.uniform(0, 2)))
        await begin()
        self._oracle.generation_started(self._process, job.id, self._spool_name)
        try:
            if self._random.random() < 0.3:
                await interrupter.run(asyncio.sleep(self._random.uniform(0, 4)))  # the prompt is rewritten
            interrupter.look()
            steps = job.num_inference_steps
            for step in range(1, steps + 1):
                self._oracle.step(self._process, job.id)
                if self._poison.get(job.id) == step:
                    self._process.world.after(0, self._process.kill)
                    await asyncio.Event().wait()
                await asyncio.sleep(self._random.uniform(0.5, 3))
                interrupter.look()
                progress.step(step, steps)
        finally:
            self._oracle.generation_ended(self._process, job.id)
        return Drawn(GenerationRequest(job, job.prompt, 7), Generation(_NO_FRAMES, {}), {}, None)

    async def finish(self, drawn: Drawn, limit: BucketLimit) -> Result:
        job = drawn.request.job
        folder = self._spool.folder(job.id)
        await asyncio.sleep(self._random.uniform(0.1, 2))
        path = folder / "0.png"
        path.write_bytes(job.id.encode())
        asset = Asset(path, "image/png", path.stat().st_size, job.width, job.height, 1, 7)
        key = f"{job.id}.png"
        reported = (ReportedAsset(key, "image", job.width, job.height, 7),)
        result = Result(job.bucket, (StoredAsset(key, asset),), Callback(job.id, "completed", reported))
        await asyncio.sleep(self._random.uniform(0, 0.1))
        self._spool.save(result)
        self._oracle.spooled(self._spool_name, job.id)
        return result


class ModelStore:
    """An `AssetStore` with the real one's patience."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._http = httpx.AsyncClient()

    async def put(self, bucket: str, key: str, asset: Asset) -> None:
        if asset.path.stat().st_size != asset.bytes:
            raise BackendRefused(f"{asset.path} has another size")
        patiently = retrying({BackendUnavailable: _RETRY_SECONDS}, sleep=self._sleep)
        await patiently(self._send, f"{STORAGE_PATH}{bucket}/{key}", asset)

    async def limit(self, bucket: str) -> BucketLimit:
        return BucketLimit()

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, path: str, asset: Asset) -> None:
        try:
            async with asyncio.timeout(_UPLOAD_SECONDS):
                answer = await self._http.post(PRODUCT_URL + path, content=asset.path.read_bytes())
        except (TimeoutError, httpx.HTTPError) as error:
            raise BackendUnavailable("storage did not answer") from error
        if answer.status_code != 200:
            raise BackendUnavailable(f"storage answered {answer.status_code}")

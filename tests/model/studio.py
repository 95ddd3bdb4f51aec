"""A studio whose work takes virtual seconds, and the store it delivers to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence

import httpx
import numpy as np

from ourvidz_worker.backend.retrying import Sleep, retrying
from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, Interruption
from ourvidz_worker.ports import Asset, BucketLimit, Generation, GenerationRequest
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.preparation import Preparation
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset
from ourvidz_worker.runtime.studio import Drawn, Outcome, Sitter, Studio
from tests.model.far_side import PRODUCT_URL, STORAGE_PATH
from tests.model.oracle import Oracle
from tests.model.world import Process

_NO_FRAMES = np.zeros((0, 0, 0, 3), np.uint8)
_UPLOAD_SECONDS = 60.0
_RETRY_SECONDS = 120.0
_LOOK_SECONDS = 0.05


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

    def shape(self, sitter: Sitter) -> Hashable | None:
        return sitter.request.job.num_inference_steps % 2

    async def draw(self, sitters: Sequence[Sitter]) -> Sequence[Outcome]:
        """Several take their steps together, as many as the first one wants."""
        outcomes: dict[Sitter, Outcome] = {}
        going_on = [sitter for sitter in sitters if not _is_stopped(sitter, outcomes)]
        for step in range(1, 1 + sitters[0].request.job.num_inference_steps):
            going_on = await self._step(step, going_on, outcomes)
        for sitter in going_on:
            outcomes[sitter] = Drawn(sitter.request, Generation(_NO_FRAMES, {}), None)
        for sitter in sitters:
            self._oracle.generation_ended(self._process, sitter.request.job.id)
        return [outcomes[sitter] for sitter in sitters]

    async def _step(self, step: int, sitters: list[Sitter], outcomes: dict[Sitter, Outcome]) -> list[Sitter]:
        """The step of all these; returns those who go on."""
        for sitter in sitters:
            job_id = sitter.request.job.id
            if sitter.interrupter.decided:
                self._oracle.step(self._process, job_id, self._spool_name)
            else:
                self._oracle.unconfirmed_step(self._process, job_id)
            if self._poison.get(job_id) == step:
                self._process.world.after(0, self._process.kill)
                await asyncio.Event().wait()
        if sitters:
            await asyncio.sleep(self._random.uniform(0.5, 3))
        going_on = []
        for sitter in sitters:
            await _decision(sitter, outcomes)
            if not _is_stopped(sitter, outcomes):
                going_on.append(sitter)
        return going_on

    async def inspect(self, drawn: Drawn) -> None:
        """Every picture is fine."""

    async def finish(self, drawn: Drawn, limit: BucketLimit) -> Result:
        job = drawn.request.job
        folder = self._spool.draft(job.id)
        await asyncio.sleep(self._random.uniform(0.1, 2))
        path = folder / "0.png"
        path.write_bytes(job.id.encode())
        asset = Asset(path, "image/png", path.stat().st_size, job.width, job.height, 1, 7)
        key = f"{job.id}.png"
        reported = (ReportedAsset(key, "image", job.width, job.height, 7),)
        result = Result(job.bucket, (StoredAsset(key, asset),), Callback(job.id, "completed", reported))
        await asyncio.sleep(self._random.uniform(0, 0.1))
        saved = self._spool.save(result)
        self._oracle.spooled(self._spool_name, job.id)
        return saved


async def _decision(sitter: Sitter, outcomes: dict[Sitter, Outcome]) -> None:
    """The thread of the real one waits, and looks up from time to time."""
    for _ in itertools.count():
        if sitter.interrupter.decided or _is_stopped(sitter, outcomes):
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _is_stopped(sitter: Sitter, outcomes: dict[Sitter, Outcome]) -> bool:
    try:
        sitter.interrupter.look()
    except Interruption as reason:
        outcomes[sitter] = reason
    return sitter in outcomes


class ModelPreparation(Preparation):
    """Goes the way of the real one, with sleep in place of work; `enhanced` is the share of rewritten prompts."""

    def __init__(self, process: Process, *, enhanced: float) -> None:
        self._random = process.world.random
        self._enhanced = enhanced

    def check(self, job: Job) -> None:
        """Every prompt is fine."""

    async def prepare(
        self, job: Job, interrupter: Interrupter, progress: Progress, begin: Callable[[], Awaitable[None]]
    ) -> Sitter:
        await interrupter.run(asyncio.sleep(self._random.uniform(0, 2)))
        if self._random.random() < self._enhanced:
            await begin()
            await interrupter.run(asyncio.sleep(self._random.uniform(0, 4)))
        return Sitter(GenerationRequest(job, job.prompt, 7), None, interrupter, progress)

    async def read_ahead(self, sitter: Sitter) -> None:
        with sitter.interrupter.resting():
            await sitter.interrupter.run(asyncio.sleep(self._random.uniform(0, 1)))


class ModelStore:
    """An `AssetStore` with the real one's patience."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._http = httpx.AsyncClient()

    async def put(self, bucket: str, key: str, asset: Asset) -> None:
        if asset.path.stat().st_size != asset.bytes:
            raise BackendRefused(f"{asset.path} has another size")
        patiently = retrying("delivery", {BackendUnavailable: _RETRY_SECONDS}, sleep=self._sleep)
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

"""Our side of `scripts/bench/dispatch`, each part in a process of its own: `worker`, `queue` or `far-side`.

`worker` is the real worker with an engine that draws nothing and an encoder that copies a finished small picture.
`queue` is what a job costs on the queue alone. `far-side` is the embedded backend in front of the real Redis.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
from PIL import Image

from ourvidz_worker.backend.queue.keys import new_owner
from ourvidz_worker.cli import wiring
from ourvidz_worker.cli.chosen import read_catalogue
from ourvidz_worker.cli.queueing import build_queue
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.ports import (
    Asset,
    BucketLimit,
    Encoded,
    Footage,
    Generation,
    GenerationRequest,
    GpuMemory,
    OnFrames,
    OnStep,
    Order,
    unheard,
)
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.settings import Settings
from tests.bench.peers.line import noop, redis_url
from tests.support.commands import PAYLOADS
from tests.support.embedded import JOB_TYPES

FAMILY: Final = "sdxl"
QUEUE = "sdxl_queue"
_STAMPED = "a lighthouse on a cliff at dawn, waves below, queued at "


class NoOpEngine:
    """Says that the job was started, and draws as many black pictures as it asks for, which take no memory."""

    model_name = "no-op"

    def load(self) -> None:
        """Nothing to load."""

    def prepare(self, request: GenerationRequest) -> None:
        """Nothing to prepare."""

    def shape(self, request: GenerationRequest) -> None:
        return None

    def generate(self, request: GenerationRequest, on_step: OnStep, on_frames: OnFrames = unheard) -> Generation:
        noop(queued_at(request.job))
        job = request.job
        on_step(1, 1)
        frames = np.broadcast_to(np.uint8(0), (job.num_images, job.height, job.width, 3))
        return Generation(frames, {})

    def glimpse(self, request: GenerationRequest) -> None:
        """There is nothing to see."""

    def generate_together(self, orders: Sequence[Order]) -> list[Generation | BaseException]:
        return [self.generate(order.request, order.on_step) for order in orders]

    def memory(self) -> GpuMemory | None:
        return None


class CopyingEncoder:
    """Puts a finished picture of 8 by 8 pixels where the encoder of the models would put its own."""

    def __init__(self, folder: Path) -> None:
        self._picture = folder / "picture.png"
        Image.new("RGB", (8, 8)).save(self._picture)

    def film(self, request: GenerationRequest, folder: Path) -> None:
        return None

    def encode(
        self,
        request: GenerationRequest,
        generation: Generation,
        folder: Path,
        limit: BucketLimit,
        footage: Footage | None = None,
    ) -> Encoded:
        job = request.job
        assets = []
        for index, seed in enumerate(job.seeds(request.seed)):
            path = folder / f"{index}.png"
            shutil.copyfile(self._picture, path)
            assets.append(Asset(path, job.type.media_type, path.stat().st_size, job.width, job.height, 1, seed))
        return Encoded(tuple(assets))


def queued_at(job: Job) -> float:
    return float(job.prompt.removeprefix(_STAMPED))


def payload(now: float) -> dict[str, Any]:
    """A recorded job of the product for one picture, with an id of its own."""
    recorded: dict[str, Any] = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text(encoding="utf-8"))
    prompt = f"{_STAMPED}{now!r}"
    metadata = {**recorded["metadata"], "prompt": prompt, "num_images": 1}
    config = {**recorded.get("config", {}), "num_images": 1}
    return {**recorded, "id": str(uuid4()), "prompt": prompt, "metadata": metadata, "config": config}


async def _work(settings: Settings) -> None:
    with tempfile.TemporaryDirectory(prefix="dispatch-") as folder:
        engines = Engines(NoOpEngine(), CopyingEncoder(Path(folder)))
        setattr(wiring, "assemble", lambda *_given, **_named: engines)  # noqa: B010 - the one part that is not ours here
        built = wiring.build_worker(FAMILY, settings, owner=new_owner(), announcer=Silent())
        try:
            await built.worker.run()
        finally:
            await built.close()


async def _queue_part(settings: Settings) -> None:
    """Claim, read, begin and acknowledge, one job after the other, as the worker does with each."""
    catalogue = read_catalogue(ConfigFiles(settings.config_dir))
    queue = build_queue(settings, QUEUE, new_owner())
    while True:
        if not await queue.length():
            await asyncio.sleep(settings.poll_interval(FAMILY))
            continue
        while claim := await queue.claim():
            job = parse_job(claim.delivery, catalogue)
            begun = await queue.begin(claim, job.id)
            assert begun is not None, "the lease had lapsed"
            noop(queued_at(job))
            await queue.acknowledge(begun.claim)


async def _serve_far_side() -> None:
    """Say where it is, then queue as many jobs with their rows as each line of standard input says."""
    with tempfile.TemporaryDirectory(prefix="dispatch-") as folder:
        catalogue = parse_catalogue(JOB_TYPES.read_text(encoding="utf-8"))
        backend = EmbeddedBackend(data=Path(folder), catalogue=catalogue, redis_url=redis_url())
        await backend.start()
        try:
            _say(json.dumps(backend.environment()))
            while line := await asyncio.to_thread(sys.stdin.readline):
                for _ in range(int(line)):
                    await backend.submit(payload(time.monotonic()))
                _say("queued")
        finally:
            await backend.stop()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    [part] = sys.argv[1:]
    if part == "far-side":
        asyncio.run(_serve_far_side())
        return
    parts: dict[str, Callable[[Settings], Coroutine[Any, Any, None]]] = {"worker": _work, "queue": _queue_part}
    asyncio.run(parts[part](start_daemon(FAMILY, Settings)))


if __name__ == "__main__":
    main()

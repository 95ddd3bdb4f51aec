"""One process at one simulated card: our worker as its command builds it, or the plain loop that it is compared with.

`python -m tests.bench.duty_process worker|loop sdxl|wan SECONDS LOG`, with the backend in the environment. Both end at
SIGTERM, and both use the same clients, the same encoder and the same card.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import cast

from ourvidz_worker.cli.chosen import read_catalogue
from ourvidz_worker.cli.process import exit_code_of, obey_signals, run_to_the_end
from ourvidz_worker.cli.queueing import build_queue
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.cli.wiring import build_courier, build_worker
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.catalogue import Catalogue, ModelFamily
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.contract.storage_keys import storage_key
from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.media.encoder import FileEncoder
from ourvidz_worker.ports import Claim, Encoded, GenerationRequest
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset
from ourvidz_worker.settings import Settings
from tests.bench.simulated_card import SimulatedCard

OWNER = "duty"


def main(way: str, family: ModelFamily, seconds: float, log: Path) -> int:
    settings = start_daemon(family, Settings)
    card = SimulatedCard(seconds, log)
    engines = Engines(card, FileEncoder(card.model_name))
    serve = _worker if way == "worker" else _loop
    return run_to_the_end(partial(serve, family, settings, engines))


async def _worker(family: ModelFamily, settings: Settings, engines: Engines) -> int:
    built = build_worker(family, settings, owner=OWNER, announcer=Silent(), engines=engines)
    obey_signals(built.worker.stop, None)
    try:
        return int(await exit_code_of(built.worker.run()))
    finally:
        await built.close()


async def _loop(family: ModelFamily, settings: Settings, engines: Engines) -> int:
    """Take, generate, upload, report, and only then the next."""
    catalogue = read_catalogue(ConfigFiles(settings.config_dir))
    queue = build_queue(settings, catalogue.queue_of(family), OWNER)
    spool = Spool(settings.spool_dir)
    courier = build_courier(settings, catalogue, spool)
    stopped = asyncio.Event()
    obey_signals(lambda **_: stopped.set(), None)
    engines.engine.load()
    while not stopped.is_set():
        claim = await queue.claim()
        if claim is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), settings.poll_interval(family))
            continue
        await _one(claim, catalogue, engines, spool, courier)
        await queue.acknowledge(claim)
    await courier.close()
    await queue.close()
    return 0


async def _one(claim: Claim, catalogue: Catalogue, engines: Engines, spool: Spool, courier: Courier) -> None:
    job = parse_job(claim.delivery, catalogue)
    await courier.announce_processing(job)
    request = GenerationRequest(job, job.prompt, job.seed or 0)
    generation = await asyncio.to_thread(engines.engine.generate, request, lambda _done, _total: None)
    limit = await courier.limit(job.bucket)
    encoded = await asyncio.to_thread(engines.encoder.encode, request, generation, spool.draft(job.id), limit)
    await courier.deliver(_result(job, encoded))
    spool.discard(job.id)


def _result(job: Job, encoded: Encoded) -> Result:
    stored = tuple(
        StoredAsset(storage_key(job, index, layout="current"), asset) for index, asset in enumerate(encoded.assets)
    )
    reported = tuple(
        ReportedAsset(one.key, job.type.media, one.asset.width, one.asset.height, one.asset.seed) for one in stored
    )
    return Result(job.bucket, stored, Callback(job.id, "completed", reported))


if __name__ == "__main__":
    chosen, of, each, into = sys.argv[1:]
    sys.exit(main(chosen, cast(ModelFamily, of), float(each), Path(into)))

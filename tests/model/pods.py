"""Machines with one worker each and a supervisor that starts it again; wired as `cli.wiring` does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.backend.supabase.callbacks import CallbackReporter
from ourvidz_worker.backend.supabase.job_rows import SupabaseJobRows
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.control import ExitCode
from ourvidz_worker.errors import ConfigurationError, Fenced, PoisonedContext, WorkerError
from ourvidz_worker.ports import JobQueue
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.handling import Handler, Terms
from ourvidz_worker.runtime.holdings import Holdings
from ourvidz_worker.runtime.lease import LeaseKeeper, LeaseTimes
from ourvidz_worker.runtime.patience import Patience
from ourvidz_worker.runtime.patient_queue import PatientQueue
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.runtime.reaper import Reaper
from ourvidz_worker.runtime.spool import Spool
from ourvidz_worker.runtime.worker import Worker
from tests.model.climate import Climate
from tests.model.far_side import PRODUCT_URL, QUEUE, REDIS_URL
from tests.model.oracle import Oracle
from tests.model.studio import ModelPreparation, ModelStore, ModelStudio
from tests.model.world import Process, World

LEASE_SECONDS = 30
REAP_INTERVAL = 60.0
POLL_SECONDS = 4.0
GRACE_SECONDS = 8.0
JOB_DEADLINE = 300.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What all pods share."""

    world: World
    oracle: Oracle
    catalogue: Catalogue
    poison: Mapping[str, int]
    climate: Climate
    most_images: int


class Pod:
    """`spool` outlives the pod; several pods may have the same."""

    def __init__(self, setting: Setting, name: str, spool: Path) -> None:
        self.name = name
        self.worker: Process | None = None
        self._setting = setting
        self._world = setting.world
        self._spool = spool
        self._running: Worker | None = None
        self._supervisor: Process | None = None
        self._starts = itertools.count(1)
        self._boots = itertools.count(1)

    def boot(self) -> None:
        self._supervisor = self._world.start(f"{self.name}-s{next(self._boots)}", self._supervise)

    def crash(self, seconds: float) -> None:
        """The whole machine is gone, and is back so much later."""
        if self._supervisor is None or not self._supervisor.alive:
            return
        self._supervisor.kill()
        if self.worker is not None:
            self.worker.kill()
        self._world.after(seconds, self.boot)

    def drain(self) -> None:
        """As SIGTERM to the worker."""
        worker, running = self.worker, self._running
        if worker is not None and running is not None and worker.alive:
            self._world.note("is told to stop", worker)
            worker.loop.call_soon(running.stop)

    async def _supervise(self, supervisor: Process) -> int:
        while True:
            ended = asyncio.Event()
            self._running = None
            owner = f"{self.name}-{next(self._starts)}"
            self.worker = worker = self._world.start(owner, self._work)
            worker.on_exit.append(partial(supervisor.loop.call_soon, ended.set))
            await ended.wait()
            queue = _queue(f"{owner}-release")
            try:
                await queue.release(owner, f"the worker ended with exit code {worker.exit_code}")
            except WorkerError as error:
                structlog.get_logger().warning("release_failed", problem=str(error))
            await asyncio.sleep(1 if worker.exit_code == ExitCode.FENCED else self._world.random.uniform(1, 10))

    async def _work(self, process: Process) -> int:
        queue = _queue(process.name)
        holdings = Holdings(queue)
        lease = LeaseKeeper(queue, holdings, LeaseTimes(LEASE_SECONDS), clock=process.loop.time)
        spool = Spool(self._spool)
        courier = Courier(
            ModelStore(lease.sleep),
            CallbackReporter(url=PRODUCT_URL, service_key="key", sleep=lease.sleep),
            SupabaseJobRows(url=PRODUCT_URL, service_key="key"),
            spool,
            guard=lease.check,
        )
        courier.resume()
        studio = ModelStudio(
            process, self._setting.oracle, spool=spool, spool_name=self._spool.name, poison=self._setting.poison
        )
        handler = Handler(
            queue=queue,
            holdings=holdings,
            lease=lease,
            catalogue=self._setting.catalogue,
            preparation=ModelPreparation(process, enhanced=self._setting.climate.enhanced),
            studio=studio,
            courier=courier,
            spool=spool,
            announcer=Silent(),
            terms=Terms(JOB_DEADLINE, most_images=self._setting.most_images),
        )
        self._running = Worker(
            queue=queue,
            holdings=holdings,
            lease=lease,
            reaper=Reaper(queue, holdings, spool, lease_seconds=LEASE_SECONDS, interval=REAP_INTERVAL),
            studio=studio,
            handler=handler,
            announcer=Silent(),
            shortage=spool.shortage,
            patience=Patience(POLL_SECONDS),
            grace_period=GRACE_SECONDS,
        )
        code = await _run(self._running)
        # As `asyncio.run` does before the process ends.
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return code


def _queue(owner: str) -> JobQueue:
    client = UpstashClient(url=REDIS_URL, token="token", timeout_seconds=10)
    return PatientQueue(RedisQueue(client, queue=QUEUE, owner=owner, lease_seconds=LEASE_SECONDS))


async def _run(worker: Worker) -> int:
    try:
        await worker.run()
    except Fenced:
        return ExitCode.FENCED
    except ConfigurationError:
        return ExitCode.CONFIGURATION
    except PoisonedContext:
        return ExitCode.POISONED_CONTEXT
    except Exception:  # noqa: BLE001 - as the command does, and the oracle minds
        structlog.get_logger().exception("worker_crashed")
        return ExitCode.INTERNAL
    return ExitCode.OK

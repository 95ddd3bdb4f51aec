"""The warm worker in a thread of its own: the main thread, its signals and its event loops are the SDK's."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any

import structlog

from ourvidz_worker.backend.handed_queue import HandedQueue
from ourvidz_worker.backend.queue.keys import new_owner
from ourvidz_worker.cli.chosen import read_catalogue
from ourvidz_worker.cli.probing import probed
from ourvidz_worker.cli.process import complain
from ourvidz_worker.cli.serverless.answers import Answer
from ourvidz_worker.cli.serverless.warm_worker import Ear, Tell, WarmWorker
from ourvidz_worker.cli.tracing import traced
from ourvidz_worker.cli.wiring import build_worker
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import MIB, ModelFamily
from ourvidz_worker.control import ExitCode
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.probes.own_view import OwnView
from ourvidz_worker.runtime.spool import Spool
from ourvidz_worker.settings import Settings


class Runner:
    """Between `start` and `stop` it runs jobs, from whatever event loop they are given to it."""

    def __init__(self, family: ModelFamily, settings: Settings) -> None:
        self._family = family
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="worker", daemon=True)
        self._worker: WarmWorker | None = None
        self._probes = AsyncExitStack()

    def start(self) -> Future[int | None]:
        """Begin to load the models; the result is None once they are there, or the exit code of what cannot run."""
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._open(), self._loop)

    async def answer(self, job: Any, tell: Tell) -> Answer:
        """What becomes of a job in any spelling of contract section 1; cancelling the wait cancels the job."""
        assert self._worker is not None
        working = asyncio.run_coroutine_threadsafe(self._worker.run(json.dumps(job), tell), self._loop)
        return await asyncio.wrap_future(working)

    def drain(self) -> None:
        """Let the running job finish within the grace period, and take no other. For signal handlers, too."""
        if self._worker is not None:
            self._loop.call_soon_threadsafe(self._worker.stop)

    def stop(self) -> int:
        """End the worker; returns its exit code."""
        return asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()

    async def _open(self) -> int | None:
        settings = self._settings
        ear = Ear()
        view = OwnView(self._family, ear)
        owner = new_owner()
        structlog.contextvars.bind_contextvars(worker=self._family, owner=owner)
        try:
            queue = HandedQueue(read_catalogue(ConfigFiles(settings.config_dir)).queue_of(self._family))
            built = build_worker(self._family, settings, owner=owner, announcer=view, queue=queue)
        except ConfigurationError as error:
            complain("configuration_wrong", *error.problems)
            return ExitCode.CONFIGURATION
        shortage = Spool(settings.spool_dir, reserve_bytes=settings.spool_reserve * MIB).shortage
        self._worker = WarmWorker(built, queue, ear, profile=settings.callback_profile, shortage=shortage)
        await self._probes.enter_async_context(probed(self._family, settings, view))
        await self._probes.enter_async_context(traced(self._family, settings))
        return await self._worker.open()

    async def _close(self) -> int:
        assert self._worker is not None
        try:
            return await self._worker.close()
        finally:
            await self._probes.aclose()

"""The life of the language worker: it listens at once, loads, answers, and drains."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import structlog

from ourvidz_worker.control import Announcer, Message, WorkerState
from ourvidz_worker.enhancer.doorkeeper import Doorkeeper
from ourvidz_worker.errors import ConfigurationError, ModelUnavailable, PoisonedContext, Restart
from ourvidz_worker.runtime.language.service import PromptService

_LOOK_SECONDS = 0.5
_FIRST_PAUSE = 5.0  # seconds before a model that could not be loaded or reached is tried again
_LONGEST_PAUSE = 60.0
_PINGS_PER_LIMIT = 10


class Server(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class LanguageWorker:
    """Seconds: `grace_period` for requests under way at a stop, `hang_limit` for a model that gives no sign of life."""

    def __init__(self, service: PromptService, *, announcer: Announcer, grace_period: float, hang_limit: float) -> None:
        self._service = service
        self._announcer = announcer
        self._grace_period = grace_period
        self._hang_limit = hang_limit
        self._stopping = asyncio.Event()
        self._cut_off = asyncio.Event()
        self._fatal: Restart | None = None

    def stop(self, *, at_once: bool = False) -> None:
        """Take no more requests; those under way may be answered within the grace period, or not `at_once`."""
        self._stopping.set()
        if at_once:
            self._cut_off.set()

    def give_up(self, error: Restart) -> None:
        """This process cannot go on."""
        self._fatal = self._fatal or error
        self.stop(at_once=True)

    async def run(self, server: Server, doors: Doorkeeper) -> None:
        """Serve until stopped; raises `Restart` when the process cannot go on."""
        await server.start()
        tasks = [asyncio.create_task(work()) for work in (self._load_and_watch, self._tell)]
        try:
            await self._stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
        self._announcer.announce(Message("state", state=WorkerState.DRAINING))
        await self._drain(doors)
        await server.stop()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._fatal is not None:
            raise self._fatal

    async def _load_and_watch(self) -> None:
        try:
            await self._load()
            await self._watch()
        except Restart as error:
            self.give_up(error)

    async def _load(self) -> None:
        """Requests wait meanwhile, each as long as it may."""
        begun, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                await self._service.load()
            except ModelUnavailable as error:
                structlog.get_logger().warning("model_unavailable", problem=str(error), pause_seconds=pause)
                self._announcer.announce(Message("state", state=WorkerState.LOADING, reason=str(error)))
            else:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        structlog.get_logger().info(
            "models_loaded", model=self._service.model_name, seconds=round(time.monotonic() - begun, 3)
        )

    async def _watch(self) -> None:
        """What hangs in the model's thread hangs every request: a second load gets its turn there like an answer."""
        while True:
            await asyncio.sleep(self._hang_limit / _PINGS_PER_LIMIT)
            try:
                async with asyncio.timeout(self._hang_limit):
                    await self._service.load()
            except TimeoutError:
                hang = f"{self._service.model_name} gave no sign of life for {self._hang_limit:g} s"
                raise PoisonedContext(hang) from None
            except (ModelUnavailable, ConfigurationError) as error:  # behind a URL; requests find out by themselves
                structlog.get_logger().warning("model_unavailable", problem=str(error))

    async def _tell(self) -> None:
        """Have the supervisor know what the worker is at and how many requests wait."""
        told: tuple[str, int] | None = None
        while True:
            now = (self._service.state, self._service.waiting)
            if now != told:
                self._announcer.announce(Message("poll", waiting=self._service.waiting))
                self._announcer.announce(Message("state", state=WorkerState(self._service.state)))
            told = now
            await asyncio.sleep(_LOOK_SECONDS)

    async def _drain(self, doors: Doorkeeper) -> None:
        doors.close()
        ends = {asyncio.create_task(doors.last_left()), asyncio.create_task(self._cut_off.wait())}
        await asyncio.wait(ends, timeout=self._grace_period, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await doors.clear()

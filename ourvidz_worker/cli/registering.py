"""The language worker makes itself known to the product, where a function's name is configured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from ourvidz_worker.backend.supabase.registration import Registration
from ourvidz_worker.control import Announcer, Message, WorkerState
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.settings import QwenSettings, RegisteringSettings


class ReadyListener:
    """An announcer before another one; `ready` is set with the first word that the worker is."""

    def __init__(self, listener: Announcer) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self.ready = asyncio.Event()

    def announce(self, message: Message) -> None:
        if message.state is WorkerState.READY:
            self._loop.call_soon_threadsafe(self.ready.set)
        self._listener.announce(message)


@asynccontextmanager
async def registered(settings: QwenSettings, ready: asyncio.Event) -> AsyncIterator[None]:
    """Within the block the product is told once the worker is ready; a failure costs no more than a warning."""
    if not isinstance(settings, RegisteringSettings):
        yield
        return
    registering = asyncio.create_task(_register(settings, ready))
    try:
        yield
    finally:
        registering.cancel()
        await asyncio.gather(registering, return_exceptions=True)


async def _register(settings: RegisteringSettings, ready: asyncio.Event) -> None:
    await ready.wait()
    log = structlog.get_logger()
    address, found_by = settings.public_address
    registration = Registration(
        url=settings.product_url,
        service_key=settings.product_key.get_secret_value(),
        function=settings.function,
        address=address,
        found_by=found_by,
    )
    try:
        health = await registration.register()
    except WorkerError as error:
        log.warning("not_registered", function=settings.function, address=address, problem=str(error))
    except Exception:
        log.exception("not_registered", function=settings.function, address=address)
    else:
        log.info("registered", function=settings.function, address=address, health=health or None)
    finally:
        await registration.close()

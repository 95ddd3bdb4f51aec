"""Word of changes to whoever is waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress


class Changes:
    """A counter that only grows: a waiter who was busy during ten changes wakes once and misses none."""

    def __init__(self) -> None:
        self._count = 0
        self._closed = False
        self._grown = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Wake waiters on the running loop from now on."""
        self._loop = asyncio.get_running_loop()

    def announce(self) -> None:
        """Something changed; may be called from any thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._grow)

    def close(self) -> None:
        """End every `follow`, so that open event streams do not hold up the server's end."""
        self._closed = True
        self._loop = None
        self._wake()

    async def follow(self, heartbeat: float) -> AsyncIterator[bool]:
        """Yield true at once and after changes, false when `heartbeat` seconds went by without one."""
        seen = -1
        while not self._closed:
            changed, seen = self._count != seen, self._count
            yield changed
            grown = self._grown
            if self._count == seen and not self._closed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(heartbeat):
                        await grown.wait()

    def _grow(self) -> None:
        self._count += 1
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

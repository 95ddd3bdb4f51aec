"""The sign that a worker's event loop still turns, not only that its process exists."""

from __future__ import annotations

import asyncio

from ourvidz_worker.control import Announcer, Message

BEATS_PER_LIMIT = 20
"""How often a worker says that it is alive within the silence its supervisor puts up with."""


async def beat(announcer: Announcer, *, silence_limit: float) -> None:
    """Run until cancelled."""
    while True:
        announcer.announce(Message("alive"))
        await asyncio.sleep(silence_limit / BEATS_PER_LIMIT)

"""Waiting for a thing instead of for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_SECONDS = 30.0  # a limit, not a time: it costs nothing where the thing happens, however slow the machine
_PAUSE_SECONDS = 0.01


def wait_until(predicate: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Return once `predicate()` is true; fails naming `what` did not happen within `seconds`."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(_PAUSE_SECONDS)


async def eventually(predicate: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """`wait_until` inside an event loop."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        await asyncio.sleep(_PAUSE_SECONDS)

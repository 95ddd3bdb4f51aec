"""Waiting for a thing instead of for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_PAUSE_SECONDS = 0.01


def wait_until(predicate: Callable[[], object], what: str, *, seconds: float = 10.0) -> None:
    """Return once `predicate()` is true; fails naming `what` did not happen within `seconds`."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        time.sleep(_PAUSE_SECONDS)


async def eventually(predicate: Callable[[], object], what: str, *, seconds: float = 10.0) -> None:
    """`wait_until` inside an event loop."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds:g} s")
        await asyncio.sleep(_PAUSE_SECONDS)

"""Tests that are told as coroutines."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

P = ParamSpec("P")

STORY_SECONDS = 60.0  # longer than the patience with any single thing


def story(told: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make a test of a coroutine function; a story that hangs fails."""

    @functools.wraps(told)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        async def limited() -> None:
            async with asyncio.timeout(STORY_SECONDS):
                await told(*args, **kwargs)

        asyncio.run(limited())

    return test

"""A worker says that its event loop turns, many times within the silence that is put up with."""

from __future__ import annotations

import asyncio
import time

from ourvidz_worker.runtime.heartbeat import BEATS_PER_LIMIT, beat
from tests.support.fakes import Listener
from tests.support.stories import story
from tests.support.waiting import eventually


@story
async def test_the_first_beat_comes_at_once_and_others_follow() -> None:
    listener = Listener()
    beating = asyncio.create_task(beat(listener, silence_limit=0.01 * BEATS_PER_LIMIT))
    await eventually(lambda: len(listener.messages) >= 3, "three beats")
    beating.cancel()
    assert {message.kind for message in listener.messages} == {"alive"}


@story
async def test_a_loop_that_is_blocked_does_not_beat() -> None:
    """The process lives, its loop does not; only the latter counts."""
    listener = Listener()
    beating = asyncio.create_task(beat(listener, silence_limit=0.001 * BEATS_PER_LIMIT))
    await eventually(lambda: listener.messages, "the first beat")
    before = len(listener.messages)
    time.sleep(0.05)  # noqa: ASYNC251 - what blocks a loop is what this test is about
    assert len(listener.messages) == before
    beating.cancel()

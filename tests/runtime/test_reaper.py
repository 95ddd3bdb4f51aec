"""The regular look at what anybody holds, which also tells whether a lost claim is to be looked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.runtime.holdings import Holdings
from ourvidz_worker.runtime.reaper import _LAPSE_MARGIN, Reaper
from ourvidz_worker.runtime.spool import Spool
from tests.support.fakes import FakeQueue, Script
from tests.support.memory import MemoryRedis
from tests.support.waiting import eventually


@asynccontextmanager
async def reaping(queue: FakeQueue, folder: Path) -> AsyncIterator[Holdings]:
    """Holdings that were looked up, and a reaper that has begun its regular rounds, without pauses."""
    holdings = Holdings(queue)
    await holdings.look_up()
    reaper = Reaper(queue, holdings, Spool(folder), lease_seconds=-_LAPSE_MARGIN, interval=0)
    rounds = asyncio.create_task(reaper.reap_regularly())
    try:
        yield holdings
    finally:
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)


def a_queue() -> FakeQueue:
    return FakeQueue(MemoryRedis(), Script([]), name="sdxl_queue", owner="me")


def test_where_nothing_is_held_no_other_command_looks_for_a_lost_claim(tmp_path: Path) -> None:
    async def scene() -> None:
        queue = a_queue()
        async with reaping(queue, tmp_path) as holdings:
            await eventually(lambda: queue.script.journal.count("reap") >= 4, "regular rounds")
            assert not holdings.answer_lost

    asyncio.run(scene())


def test_what_is_held_is_looked_at(tmp_path: Path) -> None:
    """A claim that Redis carried out long after it was given up shows only now."""

    async def scene() -> None:
        queue = a_queue()
        async with reaping(queue, tmp_path) as holdings:
            queue._redis.queue.append("1")
            await queue.claim()
            await eventually(lambda: holdings.answer_lost, "the look at what is held")

    asyncio.run(scene())


def test_a_round_that_failed_tells_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        queue = a_queue()
        async with reaping(queue, tmp_path) as holdings:
            await eventually(lambda: queue.script.journal.count("reap") >= 2, "regular rounds")
            queue.script.fail_next("reap", BackendUnavailable("cut off"))
            await eventually(lambda: holdings.answer_lost, "the look at what is held")

    asyncio.run(scene())

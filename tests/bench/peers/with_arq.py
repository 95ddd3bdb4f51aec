"""arq: `arq tests.bench.peers.with_arq.Settings`."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from tests.bench.peers.line import noop, produce, redis_url


async def task(_context: Any, queued_at: float) -> None:
    noop(queued_at)


class Settings:
    """Defaults: with one job at a time arq would begin no more than one at each poll."""

    functions = (task,)
    redis_settings = RedisSettings.from_dsn(redis_url())


def main() -> None:
    with asyncio.Runner() as runner:
        pool = runner.run(create_pool(Settings.redis_settings))
        produce(lambda queued_at: runner.run(pool.enqueue_job("task", queued_at)))


if __name__ == "__main__":
    main()

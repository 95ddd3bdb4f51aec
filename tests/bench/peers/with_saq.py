"""saq: `saq tests.bench.peers.with_saq.settings`."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue

from tests.bench.peers.line import QUEUE, noop, produce, redis_url


async def task(_context: Any, *, queued_at: float) -> None:
    noop(queued_at)


queue = Queue.from_url(redis_url(), name=QUEUE)
settings = {"queue": queue, "functions": [task], "concurrency": 1}
"""Defaults, but for one job at a time."""


def main() -> None:
    with asyncio.Runner() as runner:
        produce(lambda queued_at: runner.run(queue.enqueue("task", queued_at=queued_at)))


if __name__ == "__main__":
    main()

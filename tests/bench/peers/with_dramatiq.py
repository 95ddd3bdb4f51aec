"""dramatiq: `dramatiq tests.bench.peers.with_dramatiq --processes 1 --threads 1`."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.peers.line import QUEUE, noop, produce, redis_url

broker = RedisBroker(url=redis_url())
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=QUEUE)  # type: ignore[untyped-decorator]
def task(queued_at: float) -> None:
    noop(queued_at)


if __name__ == "__main__":
    produce(task.send)

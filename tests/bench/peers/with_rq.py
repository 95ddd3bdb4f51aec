"""rq: `rq worker bench`, which forks for each job."""

from __future__ import annotations

from redis import Redis
from rq import Queue

from tests.bench.peers.line import QUEUE, noop, produce, redis_url


def main() -> None:
    queue = Queue(QUEUE, connection=Redis.from_url(redis_url()))
    produce(lambda queued_at: queue.enqueue(noop, queued_at))


if __name__ == "__main__":
    main()

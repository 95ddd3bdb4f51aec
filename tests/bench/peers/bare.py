"""The least that a queue can cost: a loop around BLPOP, which loses the job of a worker that dies."""

from __future__ import annotations

import sys

from redis import Redis

from tests.bench.peers.line import QUEUE, noop, produce, redis_url


def main() -> None:
    redis = Redis.from_url(redis_url(), socket_timeout=None)  # it waits for as long as there is no job
    if sys.argv[1:] == ["worker"]:
        while True:
            element = redis.blpop([QUEUE])
            assert isinstance(element, list | tuple)
            noop(float(element[1]))
    produce(lambda queued_at: redis.rpush(QUEUE, queued_at))


if __name__ == "__main__":
    main()

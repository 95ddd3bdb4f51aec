"""Who holds jobs of a queue. An empty list does not exist in Redis, so the held lists are their own registry."""

from __future__ import annotations

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.queue.keys import QueueKeys

_SCAN_COUNT = 1000


async def holders(redis: Redis, keys: QueueKeys) -> set[str]:
    """The owners of all held lists; raises as `Redis` does."""
    owners: set[str] = set()
    cursor = 0
    while True:
        cursor, found = await redis.scan(cursor, match=keys.held_by_anyone, count=_SCAN_COUNT)
        owners.update(keys.owner_of(key) for key in found)
        if cursor == 0:
            return owners

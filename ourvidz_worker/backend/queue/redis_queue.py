"""The job queue in Redis, speaking the held-list protocol.

A claim moves an element into its owner's held list, where it stays until it is acknowledged; a lease that
expires tells others whether the owner lives. What was claimed can thus be found again after any crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any, Literal

import structlog

from ourvidz_worker.backend.queue.commands import End, Redis
from ourvidz_worker.backend.queue.holders import holders
from ourvidz_worker.backend.queue.keys import QueueKeys, lease_key
from ourvidz_worker.backend.queue.scripts import escaped, script, script_for_elements
from ourvidz_worker.contract.cancellation import cancel_key
from ourvidz_worker.contract.envelope import MAX_ELEMENT_BYTES, REDELIVERY_PREFIX, open_delivery
from ourvidz_worker.ports import Begun, Claim, Reaping, Renewal

QueueMode = Literal["held", "rpop"]

_CLAIM = script("claim")
_RENEW = script("renew")
_BEGIN = script_for_elements("begin")
_ACKNOWLEDGE = script_for_elements("acknowledge")
_MOVE = script_for_elements("move")


class RedisQueue:
    """A `JobQueue` of one owner; closing it closes `redis`.

    `pop_end` is the end that producers do not push to (contract section 1). `lease_seconds` is how long the
    owner is taken to be alive after a claim or renewal. Jobs of the `fast` types are taken before others that wait
    for less than `longest_wait` seconds; 0 keeps the order. `mode="rpop"` is for servers without LMOVE: a job is
    popped and gone, so it runs at most once, in order and never beside one that is `alike`, nothing can be found again,
    and a repeated `requeue` or `bury` repeats the push.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        queue: str,
        owner: str,
        pop_end: End = "right",
        mode: QueueMode = "held",
        lease_seconds: int = 90,
        fast: Collection[str] = (),
        longest_wait: float = 0,
    ) -> None:
        self._redis = redis
        self._keys = QueueKeys(queue)
        self._owner = owner
        self._pop_end = pop_end
        self._push_next = "RPUSH" if pop_end == "right" else "LPUSH"
        self._pop_next = "RPOP" if pop_end == "right" else "LPOP"
        self._holds = mode == "held"
        self._lease_seconds = lease_seconds
        self._fast = sorted(fast) if longest_wait else []
        self._longest_wait = timedelta(seconds=longest_wait)

    @property
    def name(self) -> str:
        return self._keys.queue

    async def length(self) -> int:
        return await self._redis.llen(self._keys.queue)

    async def wait(self, pause: float) -> None:
        if self._holds:
            await self._redis.wait_for(self._keys.queue, self._pop_end, pause)
        else:
            await asyncio.sleep(pause)  # a server without LMOVE has no BLMOVE either

    async def claim(self, *, alike: str | None = None) -> Claim | None:
        if self._holds:
            return await self._take_and_hold(alike)
        element = None if alike else await self._pop()
        return None if element is None else self._claim_of(element)

    async def begin(self, claim: Claim, job_id: str) -> Begun | None:
        if not self._holds:
            return Begun(claim, cancelled=bool(await self._redis.exists(cancel_key(job_id))))
        begun = claim.begun
        cancelled = await self._redis.eval(
            _BEGIN,
            [lease_key(self._owner), self._keys.held(self._owner), cancel_key(job_id)],
            [str(self._lease_seconds), escaped(claim.element), escaped(begun)],
        )
        return None if cancelled is None else Begun(self._claim_of(begun), cancelled=bool(cancelled))

    async def renew(self, job_ids: Collection[str]) -> Renewal:
        ids = list(job_ids)
        keys = [cancel_key(job_id) for job_id in ids]
        if not self._holds:
            marks = await self._redis.mget(*keys) if keys else []
            return Renewal(alive=True, cancelled=frozenset(compress(ids, (mark is not None for mark in marks))))
        found: list[int] | None = await self._redis.eval(
            _RENEW, [lease_key(self._owner), *keys], [str(self._lease_seconds)]
        )
        if found is None:
            return Renewal(alive=False)
        return Renewal(alive=True, cancelled=frozenset(compress(ids, found)))

    async def acknowledge(self, claim: Claim) -> list[Claim]:
        if not self._holds:
            return []
        still_held = await self._redis.eval(_ACKNOWLEDGE, [self._keys.held(self._owner)], [escaped(claim.element)])
        return [self._claim_of(element) for element in reversed(still_held)]

    async def requeue(self, claim: Claim, reason: str, *, charged: bool) -> None:
        again = claim.delivery.again(reason, charged=charged)
        await self._replace(claim, self._keys.queue, again, self._push_next)

    async def put_back(self, claim: Claim) -> None:
        await self._replace(claim, self._keys.queue, claim.delivery.untouched(), self._push_next)

    async def bury(self, claim: Claim, reason: str) -> None:
        letter = claim.delivery.dead_letter(reason, died_at=_text(datetime.now(UTC)))
        await self._replace(claim, self._keys.dead, letter, "LPUSH")

    async def held(self) -> list[Claim]:
        if not self._holds:
            return []
        return [self._claim_of(element) for element in await self._held_by(self._owner)]

    async def peek(self, count: int) -> list[str]:
        if count < 1:
            return []
        if self._pop_end == "left":
            return await self._redis.lrange(self._keys.queue, 0, count - 1)
        return (await self._redis.lrange(self._keys.queue, -count, -1))[::-1]

    async def release(self, owner: str, reason: str) -> int:
        released = await self._hand_back(owner, reason)
        await self._redis.delete(lease_key(owner))
        return released

    async def reap(self) -> Reaping:
        owners = await holders(self._redis, self._keys)
        jobs = 0
        for owner in sorted(owners - {self._owner}):
            reason = f"its worker {owner} stopped renewing its lease"
            jobs += await self._hand_back(owner, reason, unless_alive=True)
        return Reaping(jobs, holding=self._owner in owners)

    async def close(self) -> None:
        await self._redis.close()

    async def _take_and_hold(self, alike: str | None) -> Claim | None:
        while True:
            now = datetime.now(UTC)
            taken: list[Any] | int | None = await self._redis.eval(
                _CLAIM,
                [lease_key(self._owner), self._keys.queue, self._keys.held(self._owner), self._keys.dead],
                [
                    self._owner,
                    str(self._lease_seconds),
                    self._pop_end.upper(),
                    str(MAX_ELEMENT_BYTES),
                    REDELIVERY_PREFIX,
                    _text(now),
                    _text(now - self._longest_wait),
                    alike or "",
                    *self._fast,
                ],
            )
            if taken is None:
                return None
            if not isinstance(taken, int):
                element, behind = taken
                return replace(self._claim_of(element), behind=behind)
            structlog.get_logger().error("job_dead", queue=self.name, reason=f"an element has {taken} bytes")

    async def _pop(self) -> str | None:
        element: str | None = await self._redis.execute([self._pop_next, self._keys.queue])
        return element

    async def _replace(self, claim: Claim, destination: str, replacement: str, push: str) -> None:
        if self._holds:
            await self._move([self._keys.held(self._owner), destination], claim.element, replacement, push)
        else:
            # Only the script can take bytes that are not UTF-8; without it they become U+FFFD.
            text = replacement.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            await self._redis.execute([push, destination, text])

    async def _held_by(self, owner: str) -> list[str]:
        """What an owner holds, oldest first."""
        return (await self._redis.lrange(self._keys.held(owner), 0, -1))[::-1]

    async def _hand_back(self, owner: str, reason: str, *, unless_alive: bool = False) -> int:
        """Queue again what an owner holds; the last one pushed is the next one taken."""
        keys = [self._keys.held(owner), self._keys.queue, *([lease_key(owner)] if unless_alive else [])]
        moved = 0
        for element in reversed(await self._held_by(owner)):
            delivery = open_delivery(element)
            again = delivery.again(reason, charged=delivery.started)
            moved += await self._move(keys, element, again, self._push_next)
        return moved

    async def _move(self, keys: list[str], element: str, replacement: str, push: str) -> int:
        """1 if the element was still held and is now replaced, else 0; `keys` as in `move.lua`."""
        return int(await self._redis.eval(_MOVE, keys, [escaped(element), escaped(replacement), push]))

    def _claim_of(self, element: str) -> Claim:
        return Claim(queue=self.name, element=element, delivery=open_delivery(element))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")

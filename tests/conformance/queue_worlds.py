"""Every place a `JobQueue` lives in, behind one handle: what tests do as producer, as clock and as bad luck."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection
from typing import Literal, Protocol, Self

from ourvidz_worker.backend.queue.keys import QueueKeys, lease_key
from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.contract.cancellation import cancel_key
from ourvidz_worker.ports import JobQueue
from tests.conformance.native_layer import NativeLayer
from tests.conformance.rest_layer import RestLayer
from tests.support.memory import MemoryQueue, MemoryRedis

QUEUE = "sdxl_queue"
End = Literal["left", "right"]


class QueueWorld(Protocol):
    """An empty queue, open between `__aenter__` and `__aexit__`; elements are read with surrogate escapes."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    def queue(
        self, owner: str, *, pop_end: End = "right", fast: Collection[str] = (), longest_wait: float = 0
    ) -> JobQueue: ...

    async def produce(self, *elements: bytes, end: End = "left") -> None:
        """Push elements as a producer does, one after another."""

    async def waiting(self) -> list[str]:
        """The queue from its left to its right end."""

    async def held_by(self, owner: str) -> list[str]: ...

    async def dead_letters(self) -> list[str]: ...

    async def lapse(self, owner: str) -> None:
        """Let the owner's lease run out."""

    async def cancel(self, job_id: str) -> None:
        """As the product or an operator says that a job is not wanted any more."""

    def lose_next_answer(self) -> None:
        """The next call is carried out, and its answer never comes."""


class MemoryWorld:
    async def __aenter__(self) -> Self:
        self._redis = MemoryRedis()
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    def queue(
        self, owner: str, *, pop_end: End = "right", fast: Collection[str] = (), longest_wait: float = 0
    ) -> JobQueue:
        return MemoryQueue(self._redis, queue=QUEUE, owner=owner, pop_end=pop_end, fast=fast, longest_wait=longest_wait)

    async def produce(self, *elements: bytes, end: End = "left") -> None:
        for element in elements:
            at = 0 if end == "left" else len(self._redis.queue)
            self._redis.queue.insert(at, _text(element))

    async def waiting(self) -> list[str]:
        return list(self._redis.queue)

    async def held_by(self, owner: str) -> list[str]:
        return list(self._redis.held[owner])

    async def dead_letters(self) -> list[str]:
        return list(self._redis.dead)

    async def lapse(self, owner: str) -> None:
        self._redis.leases.pop(owner, None)

    async def cancel(self, job_id: str) -> None:
        self._redis.cancelled.add(job_id)

    def lose_next_answer(self) -> None:
        self._redis.lose_answers += 1


class RedisWorld:
    """`RedisQueue` over a layer that says how Redis is reached."""

    def __init__(self, layer: RestLayer | NativeLayer) -> None:
        self._layer = layer
        self._keys = QueueKeys(QUEUE)

    async def __aenter__(self) -> Self:
        self._layer.reset()
        self._queues: list[JobQueue] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        for queue in self._queues:
            await queue.close()

    def queue(
        self, owner: str, *, pop_end: End = "right", fast: Collection[str] = (), longest_wait: float = 0
    ) -> JobQueue:
        queue = RedisQueue(
            self._layer.client(),
            queue=QUEUE,
            owner=owner,
            pop_end=pop_end,
            fast=fast,
            longest_wait=longest_wait,
        )
        self._queues.append(queue)
        return queue

    async def produce(self, *elements: bytes, end: End = "left") -> None:
        for element in elements:
            await self._layer.execute("LPUSH" if end == "left" else "RPUSH", QUEUE, element)

    async def waiting(self) -> list[str]:
        return await self._list(QUEUE)

    async def held_by(self, owner: str) -> list[str]:
        return (await self._list(self._keys.held(owner)))[::-1]

    async def dead_letters(self) -> list[str]:
        return await self._list(self._keys.dead)

    async def lapse(self, owner: str) -> None:
        await self._layer.execute("DEL", lease_key(owner))

    async def cancel(self, job_id: str) -> None:
        await self._layer.execute("SET", cancel_key(job_id), "1")

    def lose_next_answer(self) -> None:
        self._layer.answers_to_lose += 1

    async def _list(self, key: str) -> list[str]:
        return [_text(element) for element in await self._layer.execute("LRANGE", key, "0", "-1")]


def _text(element: bytes) -> str:
    return element.decode("utf-8", "surrogateescape")


def inside(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test with its `world` open, in an event loop of its own."""

    @functools.wraps(test)
    def run(world: QueueWorld, **others: object) -> None:
        async def opened() -> None:
            async with world:
                await test(world, **others)

        asyncio.run(opened())

    return run

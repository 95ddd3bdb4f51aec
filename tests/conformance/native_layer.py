"""A real Redis server behind a proxy that can lose answers, as clients of its own protocol reach it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.redis.client import RedisClient
from ourvidz_worker.local.redis_commands import RedisCommands
from tests.support.loop_thread import LoopThread
from tests.support.redis_proxy import RedisProxy


class NativeLayer:
    """What `RestLayer` is for REST."""

    def __init__(self, redis_url: str) -> None:
        self.proxy = RedisProxy(redis_url)
        self._redis = RedisCommands(redis_url)
        self._loop = LoopThread("native-layer")

    @property
    def answers_to_lose(self) -> int:
        return self.proxy.answers_to_lose

    @answers_to_lose.setter
    def answers_to_lose(self, count: int) -> None:
        self.proxy.answers_to_lose = count

    def client(self) -> Redis:
        return RedisClient(url=self.proxy.url, timeout_seconds=10)

    async def execute(self, *command: str | bytes) -> Any:
        return await self._loop.submit(self._redis.execute(command))

    def reset(self) -> None:
        self.answers_to_lose = 0
        self._loop.run(self._redis.execute(["FLUSHALL"]))

    def __enter__(self) -> Self:
        self._loop.start()
        self.proxy.__enter__()
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run(self._redis.close())
        self._loop.stop()
        self.proxy.__exit__(type_, error, trace)

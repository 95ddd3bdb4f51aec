"""The embedded Upstash REST layer in a thread of its own, behind a proxy that can lose answers."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from ourvidz_worker.local.redis_commands import Command, RedisCommands
from ourvidz_worker.local.redis_rest import PREFIX, RedisRest
from ourvidz_worker.local.server import LocalServer

TOKEN = "conformance-token"


class RestLayer:
    """`with RestLayer(redis_url) as layer:` serves at `layer.url`, in process without `redis_url`.

    `answers_to_lose` counts requests that will be carried out and answered by a broken gateway.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self.answers_to_lose = 0
        self._redis = RedisCommands(redis_url)
        self._rest = RedisRest(self._redis, TOKEN)
        self._server = LocalServer(self, "127.0.0.1", 0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest-layer")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}{PREFIX}"

    async def execute(self, *command: str | bytes) -> Any:
        """A command past the REST layer, from any event loop."""
        return await asyncio.wrap_future(self._submitted(command))

    def reset(self) -> None:
        self.answers_to_lose = 0
        self._submitted(["FLUSHALL"]).result(timeout=10)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(timeout=10)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _submitted(self, command: Command) -> Any:
        return asyncio.run_coroutine_threadsafe(self._redis.execute(command), self._loop)

    async def _stop(self) -> None:
        await self._server.stop()
        await self._redis.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.answers_to_lose:
            await self._rest(scope, receive, send)
            return
        self.answers_to_lose -= 1
        await self._rest(scope, receive, _nowhere)
        await PlainTextResponse("bad gateway", 502)(scope, receive, send)


async def _nowhere(_message: Message) -> None:
    return

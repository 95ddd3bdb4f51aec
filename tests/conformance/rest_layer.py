"""The embedded Upstash REST layer in a thread of its own, behind a proxy that can lose answers."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.local.redis_commands import RedisCommands
from ourvidz_worker.local.redis_rest import PREFIX, RedisRest
from ourvidz_worker.local.server import LocalServer
from tests.support.loop_thread import LoopThread

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
        self._loop = LoopThread("rest-layer")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}{PREFIX}"

    def client(self) -> Redis:
        return UpstashClient(url=self.url, token=TOKEN, timeout_seconds=10)

    async def execute(self, *command: str | bytes) -> Any:
        """A command past the REST layer, from any event loop."""
        return await self._loop.submit(self._redis.execute(command))

    def reset(self) -> None:
        self.answers_to_lose = 0
        self._loop.run(self._redis.execute(["FLUSHALL"]))

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.run(self._server.start())
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._loop.run(self._stop())
        self._loop.stop()

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

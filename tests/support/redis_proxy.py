"""A proxy in front of a Redis server that cuts connections: before a command arrives, or before its answer does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.fault_proxy import NO_LINGER
from tests.support.loop_thread import LoopThread

_PIECE = 65_536


class RedisProxy:
    """`with RedisProxy(url) as proxy:` stands at `proxy.url`.

    `answers_to_lose` counts commands that will be carried out and never answered, `commands_to_lose` those that never
    arrive; either way the connection ends.
    """

    def __init__(self, upstream: str) -> None:
        self.answers_to_lose = self.commands_to_lose = 0
        self._upstream = urlsplit(upstream)
        self._loop = LoopThread("redis-proxy")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    def __enter__(self) -> Self:
        self._loop.start()
        self._server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.run(self._cut())
        self._loop.stop()

    async def _cut(self) -> None:
        assert self._server is not None
        self._server.close()  # in its own loop: from another thread it may close while its last connection ends
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        passing = Passage(self, writer)
        ways = [
            asyncio.create_task(passing.commands(reader, far_writer)),
            asyncio.create_task(passing.answers(far_reader)),
        ]
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._tasks.discard(task)
            for end in (writer, far_writer):
                with contextlib.suppress(OSError):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                end.transport.abort()


class Passage:
    """One connection on its way through."""

    def __init__(self, proxy: RedisProxy, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._writer = writer

    async def commands(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE):
            if self._proxy.commands_to_lose:
                self._proxy.commands_to_lose -= 1
                return
            far.write(piece)
            await far.drain()

    async def answers(self, far: asyncio.StreamReader) -> None:
        while piece := await far.read(_PIECE):
            # A script that the server does not know was not carried out: its next sending is.
            if self._proxy.answers_to_lose and not piece.startswith(b"-NOSCRIPT"):
                self._proxy.answers_to_lose -= 1
                return
            self._writer.write(piece)
            await self._writer.drain()

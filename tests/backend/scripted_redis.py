"""A server that answers commands of Redis's protocol with what a test wrote down."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Final, Self

from tests.support.loop_thread import LoopThread

NEVER: Final = b"never"
HANG_UP: Final = b"hang up"


class ScriptedRedis:
    """`with ScriptedRedis(*answers) as server:` gives each answer once and the last one again and again.

    `commands` are the words of each command so far.
    """

    def __init__(self, *answers: bytes, tls: ssl.SSLContext | None = None) -> None:
        self.commands: list[list[bytes]] = []
        self._answers = list(answers)
        self._tls = tls
        self._loop = LoopThread("scripted-redis")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._loop.start()
        self._server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.run(self._stop())
        self._loop.stop()

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.commands.append(await _words(reader))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer == NEVER:
            await asyncio.Event().wait()
        if answer == HANG_UP:
            return False
        writer.write(answer)
        await writer.drain()
        return True


async def _words(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words

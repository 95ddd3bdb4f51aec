"""An HTTP server on this machine whose answers are scripted, for clients that speak over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import httpx

from tests.support.loop_thread import LoopThread

NEVER: Final = "never"
HANG_UP: Final = "hang up"
CUT_SHORT: Final = httpx.Response(200, text='{"resu', headers={"Content-Length": "99", "Connection": "close"})
Scripted = httpx.Response | str
"""An answer, `NEVER`, or `HANG_UP` in place of one."""


class ScriptedRest:
    """`with ScriptedRest() as server:` gives what `answer` was told, and what was told last again and again.

    `paths`, `bodies` and `headers` are those of the requests so far.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.headers: list[httpx.Headers] = []
        self._script: list[Scripted] = []
        self._loop = LoopThread("scripted-rest")
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.url = ""

    @property
    def commands(self) -> list[Any]:
        return [json.loads(body) for body in self.bodies]

    def answer(self, *answers: Scripted) -> None:
        self._script += answers

    def results(self, results: Iterable[Any]) -> None:
        """Answers that Redis gave, one for each command."""
        self.answer(*(httpx.Response(200, json={"result": result}) for result in results))

    def hang_up(self) -> None:
        """End all connections, as servers do with idle ones; returns when that is on its way to their clients."""
        self._loop.run(self._end_connections())

    def __enter__(self) -> Self:
        self._loop.start()
        self._server = self._loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.run(self._stop())
        self._loop.stop()

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._end_connections()

    async def _end_connections(self) -> None:
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read a request and answer it; whether the connection stays."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        parted = (line.partition(":") for line in lines if line)
        headers = httpx.Headers([(name, value.strip()) for name, _, value in parted])
        body = await reader.readexactly(int(headers.get("Content-Length", 0)))
        self.paths.append(first.split(" ")[1])
        self.headers.append(headers)
        self.bodies.append(body)
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if answer == NEVER:
            await asyncio.Event().wait()
        if not isinstance(answer, httpx.Response):
            return False
        writer.write(_on_the_wire(answer))
        await writer.drain()
        return "Connection" not in answer.headers


def _on_the_wire(answer: httpx.Response) -> bytes:
    lines = [f"HTTP/1.1 {answer.status_code} {HTTPStatus(answer.status_code).phrase}"]
    headers = {"content-length": str(len(answer.content)), **answer.headers}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.content

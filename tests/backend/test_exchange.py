"""httpx over aiohttp, where they differ by themselves: a server that does not take what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from ourvidz_worker.backend.exchange import ExchangeTransport

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = bytes(range(256)) * 80_000  # 20 MB, more than any buffer on the way holds


@asynccontextmanager
async def client_of(handler: Handler, *, write: float) -> AsyncIterator[httpx.AsyncClient]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=1024)
    host, port = server.sockets[0].getsockname()
    timeout = httpx.Timeout(30, write=write)
    async with (
        server,
        httpx.AsyncClient(transport=ExchangeTransport(), timeout=timeout, base_url=f"http://{host}:{port}") as client,
    ):
        yield client


def test_an_upload_that_nobody_takes_ends() -> None:
    async def scenario() -> None:
        over = asyncio.Event()

        async def take_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await over.wait()
            writer.close()

        async with client_of(take_nothing, write=0.2) as client:
            with pytest.raises(httpx.WriteTimeout):
                await client.post("/", content=BODY)
            over.set()

    asyncio.run(scenario())


def test_a_body_arrives_whole_and_with_its_length() -> None:
    async def scenario() -> None:
        taken = bytearray()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            assert f"content-length: {len(BODY)}\r\n".encode() in head.lower()
            taken.extend(await reader.readexactly(len(BODY)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nDone")
            await writer.drain()
            writer.close()

        async with client_of(take, write=30) as client:
            answer = await client.post("/", content=BODY)
        assert answer.text == "Done"
        assert taken == BODY

    asyncio.run(scenario())

"""A server of pictures on this machine, over plain HTTP or TLS, that remembers what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answers = Mapping[str, bytes]
"""Raw HTTP answers by path."""


@dataclass(slots=True)
class PictureServer:
    """`heads` are the heads of all requests, `connections` how many clients came."""

    answers: dict[str, bytes] = field(default_factory=dict)
    heads: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                writer.write(self.answers[head.split()[1]])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()


def picture(content: bytes, *headers: str) -> bytes:
    return _answer("200 OK", "Content-Type: image/png", *headers, content=content)


def redirect(to: str) -> bytes:
    return _answer("302 Found", f"Location: {to}")


def _answer(status: str, *headers: str, content: bytes = b"") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", "")
    return "\r\n".join(lines).encode() + content


@asynccontextmanager
async def serving(answers: Answers, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[PictureServer]:
    server = PictureServer(dict(answers))
    listening = await asyncio.start_server(server.converse, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()

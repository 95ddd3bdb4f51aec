"""Clients that hang up, on a real socket: nothing goes on for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.enhancer.app import build_app
from ourvidz_worker.enhancer.events import EventStream
from ourvidz_worker.local.server import LocalServer
from ourvidz_worker.runtime.language.service import PromptService
from tests.language.scripted import ScriptedModel, service_over
from tests.language.test_streaming import LAST, NEXT, OPENING
from tests.support.stories import story
from tests.support.waiting import eventually

TOKEN = "the-token"


class Street:
    """The worker on a port of this machine."""

    def __init__(self, model: ScriptedModel, service: PromptService, port: int) -> None:
        self.model = model
        self.service = service
        self._port = port

    async def ask(self, path: str = "/enhance", **body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        content = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST {path} HTTP/1.1\r\nHost: worker\r\nAuthorization: Bearer {TOKEN}\r\n"
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        return reader, writer


@asynccontextmanager
async def street(catalogue: Catalogue, model: ScriptedModel) -> AsyncIterator[Street]:
    service = service_over(model)
    app = build_app(service, token=TOKEN, time_limit=10.0, catalogue=catalogue, on_restart=lambda _: None)
    server = LocalServer(app, "127.0.0.1", 0)
    await server.start()
    try:
        yield Street(model, service, server.port)
    finally:
        await server.stop()


@pytest.mark.parametrize("path", ["/enhance", "/storyboard"])
def test_hanging_up_stops_the_generation(catalogue: Catalogue, path: str) -> None:
    @story
    async def told() -> None:
        async with street(catalogue, ScriptedModel("a red fox", gate=asyncio.Event())) as worker:
            _, writer = await worker.ask(path, prompt="a fox", script="a fox")
            await eventually(lambda: worker.model.asked, "the question")
            writer.close()
            await eventually(lambda: worker.model.stopped, "the generation to stop")
            await eventually(lambda: worker.service.state == "READY", "the model to be free")

    told()


@story
async def test_hanging_up_in_the_midst_of_a_stream_stops_the_generation(catalogue: Catalogue) -> None:
    async with street(catalogue, ScriptedModel([OPENING, NEXT + LAST], gate=asyncio.Event())) as worker:
        reader, writer = await worker.ask(prompt="a fox", stream=True)
        received = await reader.readuntil(b"\n\n\r\n")
        assert b"200 OK" in received
        assert b"event: piece" in received
        writer.close()
        await eventually(lambda: worker.model.stopped, "the generation to stop")
        await eventually(lambda: worker.service.state == "READY", "the model to be free")


@story
async def test_hanging_up_in_the_line_leaves_it(catalogue: Catalogue) -> None:
    gate = asyncio.Event()
    async with street(catalogue, ScriptedModel("one", "three", gate=gate)) as worker:
        kept, first = await worker.ask(prompt="a")
        await eventually(lambda: worker.model.asked, "the question")
        _, second = await worker.ask(prompt="b")
        await eventually(lambda: worker.service.waiting == 1, "the second to wait")
        second.close()
        await eventually(lambda: worker.service.waiting == 0, "the second to leave")
        gate.set()
        assert b"200 OK" in await kept.readline()
        assert len(worker.model.asked) == 1
        first.close()


@story
async def test_a_client_that_does_not_read_cannot_keep_the_model() -> None:
    closed: list[bool] = []

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def nothing(*_: Any) -> Any:
        await asyncio.Event().wait()

    source = pieces()
    first = await anext(source)
    await EventStream(_once(first), source, seconds=0.05)({}, nothing, nothing)
    assert closed


async def _once(event: bytes) -> AsyncIterator[bytes]:
    yield event

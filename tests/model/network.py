"""The network between the processes and everything else: it delays, loses and repeats nothing it was not told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

import aiohttp
import httpx

from ourvidz_worker.backend.exchange import Answer
from tests.model.world import Process, World

_LATENCY = (0.005, 0.05)
_SLOW = (0.5, 9.0)
_LATE = (5.0, 90.0)


class Fate(Enum):
    """What becomes of a request. `SILENT` ones leave the caller waiting until it gives up."""

    GOOD = "good"
    SLOW = "slow"
    REFUSED = "request lost, error"
    LOST = "request lost, silence"
    BROKEN = "answer lost, error"
    SILENT = "answer lost, silence"
    BAD_GATEWAY = "executed, but answered 502"
    LATE = "late execution, silence"
    LATE_BROKEN = "late execution, error"


UNLUCKY = tuple(fate for fate in Fate if fate is not Fate.GOOD)
CUT_OFF = (Fate.REFUSED, Fate.LOST)


@dataclass(eq=False, slots=True)
class Call:
    """One request: who sent it when, and whether that process still waits for its answer."""

    process: Process
    method: str
    url: httpx.URL
    body: Any
    sent_at: float
    fate: Fate = Fate.GOOD
    awaited: bool = True
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def heard(self) -> bool:
        """Whether somebody still wants the answer."""
        return self.awaited and self.process.alive

    def __str__(self) -> str:
        return f"{self.method} {self.url.path}"


Serve = Callable[[Call], httpx.Response]


class Network:
    """`serve` carries a request out; `fate_of` decides what becomes of it; `watch` sees each one when it is sent.

    `passing` is called when a request leaves, is carried out, or is answered: the moments between which a blow hurts.
    """

    def __init__(
        self,
        world: World,
        *,
        serve: Serve,
        fate_of: Callable[[Call], Fate],
        watch: Callable[[Call], None],
        passing: Callable[[Call], None],
    ) -> None:
        self._world = world
        self._serve = serve
        self._fate_of = fate_of
        self._watch = watch
        self._passing = passing
        self.under_way = 0

    def client(self, *_: Any, **__: Any) -> Client:
        """Stands in for `httpx.AsyncClient`."""
        return Client(self)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """Stands in for that of `Exchange`. The body of a command of the queue is the command."""
        address = httpx.URL(url)
        try:
            async with asyncio.timeout(seconds):
                response = await self.request("POST", address, json.loads(body) if address.path == "/" else body)
        except httpx.HTTPError as error:
            raise aiohttp.ClientError(str(error)) from error
        return Answer(response.status_code, response.headers, response.content)

    async def request(self, method: str, url: httpx.URL, body: Any) -> httpx.Response:
        process = self._world.current
        if process is None or self._world.over:
            raise httpx.ConnectError("the world is over")
        call = Call(process, method, url, body, self._world.now)
        self._watch(call)
        call.fate = self._fate_of(call)
        answer: asyncio.Future[httpx.Response] = process.loop.create_future()
        self._send(call, answer)
        self._passing(call)
        try:
            return await answer
        finally:
            call.awaited = False

    def _send(self, call: Call, answer: asyncio.Future[httpx.Response]) -> None:
        fate, latency = call.fate, self._latency
        if fate in CUT_OFF:
            self._note(call)
            if fate is Fate.REFUSED:
                self._world.after(latency(), partial(self._fail, call, answer))
            return
        late = fate in (Fate.LATE, Fate.LATE_BROKEN)
        if fate is Fate.LATE_BROKEN:
            self._world.after(latency(), partial(self._fail, call, answer))
        delay = self._between(_LATE) if late else self._between(_SLOW) if fate is Fate.SLOW else latency()
        self.under_way += 1
        self._world.after(delay, partial(self._execute, call, answer))

    def _execute(self, call: Call, answer: asyncio.Future[httpx.Response]) -> None:
        self.under_way -= 1
        self._note(call)
        response = self._serve(call)
        self._passing(call)
        latency = self._latency()
        match call.fate:
            case Fate.BROKEN:
                self._world.after(latency, partial(self._fail, call, answer))
            case Fate.BAD_GATEWAY:
                response = httpx.Response(502, text="bad gateway")
                self._world.after(latency, partial(self._answer, call, answer, response))
            case Fate.GOOD | Fate.SLOW | Fate.LATE:
                self._world.after(latency, partial(self._answer, call, answer, response))

    def _answer(self, call: Call, answer: asyncio.Future[httpx.Response], response: httpx.Response) -> None:
        response.request = httpx.Request(call.method, call.url)
        self._arrive(call, answer, lambda: answer.set_result(response))

    def _fail(self, call: Call, answer: asyncio.Future[httpx.Response]) -> None:
        error = httpx.ReadError("the connection broke")
        self._arrive(call, answer, lambda: answer.set_exception(error))

    def _arrive(self, call: Call, answer: asyncio.Future[httpx.Response], settle: Callable[[], None]) -> None:
        def arrive() -> None:
            if not answer.done():
                settle()

        if call.process.alive:
            call.process.loop.call_soon(arrive)
            self._passing(call)

    def _note(self, call: Call) -> None:
        if call.fate is not Fate.GOOD:
            late = f", sent {self._world.now - call.sent_at:.1f} s ago" if self._world.now > call.sent_at else ""
            self._world.note(f"[{call.fate.value}{late}]", call.process)

    def _latency(self) -> float:
        return self._between(_LATENCY)

    def _between(self, bounds: tuple[float, float]) -> float:
        return self._world.random.uniform(*bounds)


class Client:
    """As much of `httpx.AsyncClient` as the worker uses."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.timeout: Any = None
        self.event_hooks: Mapping[str, list[Any]] = {}

    async def post(self, url: str, *, headers: Any = None, json: Any = None, content: Any = None) -> httpx.Response:
        return await self._send("POST", httpx.URL(url), content if json is None else json)

    async def get(self, url: str, *, params: Mapping[str, str] | None = None) -> httpx.Response:
        return await self._send("GET", httpx.URL(url, params=params), None)

    async def aclose(self) -> None:
        """No connection is kept."""

    async def _send(self, method: str, url: httpx.URL, body: Any) -> httpx.Response:
        response = await self._network.request(method, url, body)
        for hook in self.event_hooks.get("response", ()):
            await hook(response)
        return response

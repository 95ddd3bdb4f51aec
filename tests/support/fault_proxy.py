"""An HTTP proxy that breaks things on purpose: by route, by chance under a seed, or the next n requests.

It stands in front of one upstream (the embedded backend's port, or any HTTP server) and buffers each request and each
answer whole, so that it knows exactly what was carried out and what was answered. Streams without end do not pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib import resources
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from ourvidz_worker.backend import queue as queue_protocol
from ourvidz_worker.backend.queue.scripts import script
from tests.support.loop_thread import LoopThread

UPSTASH = "/upstash"
LONGEST_HEAD = 256 * 1024
NO_LINGER = struct.pack("ii", 1, 0)

Phase = Literal["arrived", "executed", "answering"]
Hook = Callable[["Exchange"], Awaitable[None] | None]
"""Called at each phase of each exchange; what it awaits, or blocks on, holds that exchange back."""


class Fault(StrEnum):
    """What can go wrong; `executes` tells whether the upstream carries the request out all the same."""

    REFUSE = "refuse"
    """Cut off once the request's first lines are there; its body is never read."""
    RESET = "reset"
    """Cut off after the whole request was read; nobody carries it out."""
    DELAY = "delay"
    """Held back for the rule's seconds, then carried out, whether or not the client still waits."""
    DROP = "drop"
    """Carried out, then cut off without an answer."""
    TRUNCATED = "truncated"
    """Carried out, and the answer ends in the middle, short of its `Content-Length`."""
    LOST_GATEWAY = "502 after execution"
    TOO_MANY = "429"
    QUOTA = "quota text"
    SERVER_ERROR = "500 JSON"
    BAD_GATEWAY = "502 HTML"

    @property
    def executes(self) -> bool:
        return self in (Fault.DELAY, Fault.DROP, Fault.TRUNCATED, Fault.LOST_GATEWAY)


_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_QUOTA_TEXT = (
    "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000. See https://upstash.com/docs for details"
)
_ANSWERS = {
    Fault.LOST_GATEWAY: (b"502 Bad Gateway", b"text/html", _HTML),
    Fault.TOO_MANY: (b"429 Too Many Requests", b"application/json", b'{"error":"too many requests"}'),
    Fault.QUOTA: (b"400 Bad Request", b"application/json", json.dumps({"error": _QUOTA_TEXT}).encode()),
    Fault.SERVER_ERROR: (b"500 Internal Server Error", b"application/json", b'{"error":"internal server error"}'),
    Fault.BAD_GATEWAY: (b"502 Bad Gateway", b"text/html", _HTML),
}


@dataclass(slots=True)
class Exchange:
    """One request on its way through, as hooks see it.

    `route` is `REDIS <command>` for Upstash (scripts by their name: `REDIS claim`) and `<METHOD> <path>` for the rest;
    `area` is the route without ids. `status` is the upstream's, None until it executed. `connection` is a
    number of its own for each connection of a client, whose end is at `client_port`.
    """

    route: str
    area: str
    method: str
    path: str
    body: bytes
    client_port: int
    connection: int
    phase: Phase = "arrived"
    fault: Fault | None = None
    status: int | None = None


@dataclass(slots=True)
class Rule:
    """`fault` for exchanges whose route matches the pattern (`REDIS claim`, `POST /storage/v1/*`).

    Each is hit with `probability`, at most `times` of them; `seconds` is how long a delay lasts.
    """

    route: str
    fault: Fault
    probability: float = 1.0
    times: int | None = None
    seconds: float = 0.0
    met: int = field(default=0, init=False)


class FaultProxy:
    """Serves at `url` from `start` to `stop`, inside the caller's event loop.

    `counts` holds exchanges by area, `injected` faults by (area, fault), `under_way` how many are not over. Whether
    the nth exchange that a rule meets is hit depends on the seed alone, not on what else happens meanwhile.
    """

    def __init__(self, upstream: str, *, seed: int = 0, port: int = 0, host: str = "127.0.0.1") -> None:
        address = urlsplit(upstream)
        assert address.hostname
        self._host = host
        self._upstream = (address.hostname, address.port or 80)
        self._seed = seed
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._connections_made = 0
        self._hooks: list[Hook] = []
        self._rules: dict[int, Rule] = {}
        self._rules_made = 0
        self.under_way = 0
        self.counts: Counter[str] = Counter()
        self.injected: Counter[tuple[str, Fault]] = Counter()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Take connections, on the port of the last time if there was one; a second call does nothing."""
        if self._server:
            return
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=LONGEST_HEAD)
        self._port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse every connection, and cut off those that are open, until `start`; what was begun is carried out."""
        if self._server:
            self._server.close()
        for writer in list(self._connections.values()):
            _cut_off(writer)
        if self._server:
            await self._server.wait_closed()
            self._server = None

    async def stop(self) -> None:
        """End for good, delayed requests included."""
        await self.shut()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add(self, rule: Rule) -> Rule:
        """Rules are asked in the order in which they were added; the first that hits counts."""
        self._rules[self._rules_made] = rule
        self._rules_made += 1
        return rule

    def clear(self) -> None:
        """No more faults."""
        self._rules.clear()

    def watch(self, hook: Hook) -> None:
        self._hooks.append(hook)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections[task] = writer
        self._connections_made += 1
        number = self._connections_made
        try:
            # Not even a cancellation may end this task otherwise: `asyncio.start_server` would log it as an accident.
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._exchange(reader, writer, number):
                    pass
        finally:
            del self._connections[task]
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        """One request and its answer; False when the connection ends with it."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, headers = _parse_head(head)
        # The route of a Redis command lies in the body, so `refuse` for Redis is by `REDIS *` alone.
        is_redis = target.split("?")[0].split("/")[1:2] == [UPSTASH[1:]]
        exchange = Exchange(
            route="REDIS *" if is_redis else f"{method} {target.partition('?')[0]}",
            area="REDIS" if is_redis else f"{method} {_area(target)}",
            method=method,
            path=target,
            body=b"",
            client_port=writer.get_extra_info("peername")[1],
            connection=connection,
        )
        if self._hit(exchange, refusing=True):
            self._note(exchange, Fault.REFUSE)
            return _cut_off(writer)
        self.under_way += 1
        try:
            exchange.body = await _read_body(reader, headers)
            return await self._pass(exchange, head, writer)
        finally:
            self.under_way -= 1

    async def _pass(self, exchange: Exchange, head: bytes, writer: asyncio.StreamWriter) -> bool:
        if exchange.area == "REDIS":
            exchange.route = exchange.area = f"REDIS {redis_command(exchange.path, exchange.body)}"
        self.counts[exchange.area] += 1
        await self._tell(exchange, "arrived")
        rule = self._hit(exchange, refusing=False)
        if rule:
            self._note(exchange, rule.fault)
        fault = rule.fault if rule else None
        if fault is Fault.RESET:
            return _cut_off(writer)
        if rule and fault is Fault.DELAY:
            await asyncio.sleep(rule.seconds)
        answer = b""
        if fault is None or fault.executes:
            answer = await self._execute(exchange, head)
        if fault in _ANSWERS:
            answer = _answer(*_ANSWERS[fault])
        await self._tell(exchange, "answering")
        if fault is Fault.DROP or not answer:
            return _cut_off(writer)
        if fault is Fault.TRUNCATED:
            writer.write(_truncated(answer))
            await writer.drain()
            return False
        writer.write(answer)
        await writer.drain()
        return _is_framed(answer, exchange.method)

    async def _execute(self, exchange: Exchange, head: bytes) -> bytes:
        """The upstream's whole answer, empty when it cut us off; a connection for each, so that none is stale."""
        try:
            reader, writer = await asyncio.open_connection(*self._upstream)
            try:
                writer.write(_forwarded(head, len(exchange.body)) + exchange.body)
                await writer.drain()
                answer = await reader.read()
            finally:
                writer.close()
        except ConnectionError:
            answer = b""
        if not answer:
            return answer
        exchange.status = int(answer.split(b" ", 2)[1])
        await self._tell(exchange, "executed")
        return _without(answer, b"connection")

    def _hit(self, exchange: Exchange, *, refusing: bool) -> Rule | None:
        for number, rule in self._rules.items():
            if (rule.fault is Fault.REFUSE) is not refusing or not fnmatchcase(exchange.route, rule.route):
                continue
            rule.met += 1
            chance = random.Random(f"{self._seed}/{number}/{rule.met}").random()
            if rule.times != 0 and chance < rule.probability:
                rule.times = None if rule.times is None else rule.times - 1
                return rule
        return None

    def _note(self, exchange: Exchange, fault: Fault) -> None:
        exchange.fault = fault
        self.injected[exchange.area, fault] += 1

    async def _tell(self, exchange: Exchange, phase: Phase) -> None:
        exchange.phase = phase
        for hook in self._hooks:
            awaitable = hook(exchange)
            if inspect.isawaitable(awaitable):
                await awaitable


class RunningProxy:
    """`with RunningProxy(upstream) as running:` serves `running.proxy` from a thread of its own."""

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        self.proxy = FaultProxy(upstream, seed=seed)
        self._loop = LoopThread("fault-proxy")

    def run(self, coroutine: Any) -> Any:
        """The coroutine's result, from the proxy's own loop."""
        return self._loop.run(coroutine)

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.run(self.proxy.start())
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._loop.run(self.proxy.stop())
        self._loop.stop()


def redis_command(target: str, body: bytes) -> str:
    """The name of the command that a REST request carries, in capitals; of a script of ours its name, in small."""
    segments = [unquote(part) for part in target.partition("?")[0].removeprefix(UPSTASH).split("/") if part]
    if segments:
        return segments[0].lower() if segments[0] in ("pipeline", "multi-exec") else segments[0].upper()
    try:
        command = json.loads(body)
    except ValueError:
        return "unreadable"
    if not isinstance(command, list) or not command:
        return "unreadable"
    name = str(command[0]).upper()
    return _script_name(str(command[1])) if name == "EVAL" and len(command) > 1 else name


def _script_name(sent: str) -> str:
    """Scripts may be sent behind a prelude, so the file that the text ends with names it."""
    return next((name for name, text in SCRIPTS.items() if sent.endswith(text)), "EVAL")


SCRIPTS = {
    (name := entry.name.removesuffix(".lua")): script(name)
    for entry in resources.files(queue_protocol).joinpath("lua").iterdir()
    if entry.name.endswith(".lua")
}


def _parse_head(head: bytes) -> tuple[str, str, dict[bytes, bytes]]:
    first, *lines = head[:-4].split(b"\r\n")
    method, target, _version = first.decode("latin-1").split(" ", 2)
    pairs = (line.partition(b":") for line in lines)
    return method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> bytes:
    """The body's bytes, without the frames of a chunked one."""
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        return await reader.readexactly(int(headers.get(b"content-length", b"0")))
    pieces = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(pieces)


def _forwarded(head: bytes, body_length: int) -> bytes:
    """The head as it came, but framed by length and ending the connection; `Host` stays what the client calls us."""
    for name in (b"connection", b"transfer-encoding", b"content-length"):
        head = _without(head, name)
    return head[:-2] + b"connection: close\r\ncontent-length: %d\r\n\r\n" % body_length


def _without(message: bytes, name: bytes) -> bytes:
    head, _, body = message.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if line.partition(b":")[0].strip().lower() != name]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def _answer(status: bytes, media_type: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (status, media_type, len(body), body)


def _truncated(answer: bytes) -> bytes:
    """Half of the body; of an answer without one, half of its head."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head[: len(head) // 2] if not body else answer[: len(head) + 4 + len(body) // 2]


def _is_framed(answer: bytes, method: str) -> bool:
    """Whether a client can tell where the answer ends without the connection ending."""
    head = answer.partition(b"\r\n\r\n")[0].lower()
    bodiless = method == "HEAD" or answer.split(b" ", 2)[1] in (b"204", b"304")
    return bodiless or b"\r\ncontent-length:" in head or b"\r\ntransfer-encoding:" in head


def _cut_off(writer: asyncio.StreamWriter) -> Literal[False]:
    """End the connection with a reset, without the goodbye that a half-read answer would look complete by."""
    client = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it may be gone already
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    writer.transport.abort()
    return False


def _area(target: str) -> str:
    """`/storage/v1/object` of `/storage/v1/object/bucket/user/key.png`."""
    return "/" + "/".join(target.partition("?")[0].split("/")[1:4])

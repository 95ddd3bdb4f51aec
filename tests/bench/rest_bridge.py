"""Upstash's REST interface over a Redis, in a process of its own that counts: `python -m tests.bench.rest_bridge URL`.

Says on the first line where it listens. Each line of standard input is answered with what it has cost so far.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from hashlib import sha1
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from ourvidz_worker.local.redis_commands import Command, RedisCommands, Reply
from ourvidz_worker.local.redis_rest import PREFIX, RedisRest
from ourvidz_worker.local.server import LocalServer
from tests.support.fault_proxy import SCRIPTS

TOKEN = "bench-token"
_LINE_END = 2


class CountingCommands(RedisCommands):
    """Counts commands by name, scripts of ours by theirs."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.counts: Counter[str] = Counter()
        self._names: dict[bytes, str] = {}

    async def execute(self, command: Command) -> Reply:
        name, *arguments = [word.encode() if isinstance(word, str) else word for word in command[:2]]
        if name.upper() in (b"EVAL", b"EVALSHA") and arguments:
            self.counts[self._script(arguments[0])] += 1
        else:
            self.counts[name.decode().upper()] += 1
        return await super().execute(command)

    def _script(self, sent: bytes) -> str:
        """A script by its text, or by the digest that Redis knows it by."""
        if sent not in self._names:
            text = sent.decode()
            known = (name for name, own in SCRIPTS.items() if text.endswith(own) or text == sha1(sent).hexdigest())
            self._names[sent] = next(known, "EVAL")
            self._names[sha1(sent).hexdigest().encode()] = self._names[sent]
        return self._names[sent]


class CountingRest:
    """Counts the bytes of requests and answers, their headers included."""

    def __init__(self, commands: CountingCommands) -> None:
        self._rest = RedisRest(commands, TOKEN)
        self._commands = commands
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._bytes += _headers(scope["headers"])

        async def received() -> Message:
            message = await receive()
            self._bytes += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            self._bytes += _headers(message.get("headers", ())) + len(message.get("body", b""))
            await send(message)

        await self._rest(scope, received, sent)

    def cost(self) -> dict[str, Any]:
        return {"commands": self._commands.counts, "bytes": self._bytes, "seconds": time.process_time()}


def _headers(headers: Any) -> int:
    return sum(len(name) + len(value) + 2 * _LINE_END for name, value in headers)


async def _serve(redis_url: str) -> None:
    commands = CountingCommands(redis_url)
    rest = CountingRest(commands)
    server = LocalServer(rest, "127.0.0.1", 0)
    await server.start()
    try:
        _say(f"http://127.0.0.1:{server.port}{PREFIX}")
        while await asyncio.to_thread(sys.stdin.readline):
            _say(json.dumps(rest.cost()))
    finally:
        await server.stop()
        await commands.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))

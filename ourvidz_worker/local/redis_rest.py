"""Upstash's REST interface over Redis (contract section 1)."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ourvidz_worker.local.redis_commands import (
    Argument,
    Command,
    CommandFailed,
    RedisCommands,
    RedisUnreachable,
    Reply,
)

PREFIX = "/upstash"

BLOCKING = {"BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
# State of a connection, which REST has not.
CONNECTED = {"WATCH", "UNWATCH", "MULTI", "EXEC", "DISCARD", "SELECT", "AUTH", "HELLO", "RESET", "QUIT", "CLIENT"}
LISTENING = {"SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUNSUBSCRIBE", "MONITOR"}
OPERATING = {"CONFIG", "DEBUG", "SHUTDOWN", "SAVE", "BGSAVE", "BGREWRITEAOF", "REPLICAOF", "SLAVEOF", "CLUSTER"}
UNAVAILABLE = BLOCKING | CONNECTED | LISTENING | OPERATING | {"SYNC", "PSYNC", "FAILOVER", "MODULE", "ACL"}

Encoder = Callable[[bytes], str]


class Refused(Exception):
    """A request that never reaches Redis, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RedisRest:
    """An ASGI application; every answer is `{"result": …}` or `{"error": …}`, the refused methods' too."""

    def __init__(self, commands: RedisCommands, token: str) -> None:
        self._commands = commands
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            self._admit(request)
            return JSONResponse(await self._run(request))
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except CommandFailed as failed:
            return JSONResponse({"error": str(failed)}, 400)
        except RedisUnreachable as unreachable:
            return JSONResponse({"error": f"ERR {unreachable}"}, 500)

    def _admit(self, request: Request) -> None:
        if request.method not in ("GET", "HEAD", "POST", "PUT"):
            raise Refused(405, f"ERR method {request.method} is not allowed: use GET, HEAD, POST or PUT")
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else request.query_params.get("_token", "")
        if not token:
            raise Refused(401, "Unauthorized")
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise Refused(401, "WRONGPASS invalid or missing auth token")

    async def _run(self, request: Request) -> object:
        encode = _base64 if request.headers.get("upstash-encoding", "").lower() == "base64" else _text
        match path := _path(request):
            case [b"pipeline"]:
                commands = _commands(await _json(request))
                return [await self._one_of_many(command, encode) for command in commands]
            case [b"multi-exec"]:
                replies = await self._commands.transaction(_commands(await _json(request)))
                return [_answer(reply, encode) for reply in replies]
            case []:
                command = _command(await _json(request))
            case _:
                command = _available([*path, *await _body_argument(request), *_query_arguments(request)])
        return _answer(await self._commands.execute(command), encode)

    async def _one_of_many(self, command: Command, encode: Encoder) -> dict[str, object]:
        try:
            return _answer(await self._commands.execute(command), encode)
        except CommandFailed as failed:
            return {"error": str(failed)}


def _path(request: Request) -> list[bytes]:
    """The path's segments as bytes: decoding them as text would corrupt binary arguments."""
    raw = request.scope["raw_path"].partition(b"?")[0].removeprefix(PREFIX.encode())
    trimmed = raw.removeprefix(b"/")
    return [unquote_to_bytes(segment) for segment in trimmed.split(b"/")] if trimmed else []


async def _body_argument(request: Request) -> list[bytes]:
    body = await request.body() if request.method in ("POST", "PUT") else b""
    return [body] if body else []


def _query_arguments(request: Request) -> list[bytes]:
    """`?EX=100&NX` is `EX 100 NX`; the token is no argument."""
    arguments: list[bytes] = []
    for pair in filter(None, request.scope["query_string"].split(b"&")):
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        if name != b"_token":
            arguments += [unquote_to_bytes(part) for part in (name, value) if part]
    return arguments


async def _json(request: Request) -> object:
    if request.method not in ("POST", "PUT"):
        raise Refused(400, "ERR empty command: send a JSON array with POST, or put the command into the path")
    try:
        # Numbers stay the digits that were sent: 1.10 must not become 1.1.
        return json.loads(await request.body(), parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "ERR failed to parse command: the body is not a JSON array") from error


def _commands(body: object) -> list[Command]:
    if not isinstance(body, list) or not body:
        raise Refused(400, "ERR failed to parse pipeline request: expected a list of commands")
    return [_command(item) for item in body]


def _command(body: object) -> Command:
    if not isinstance(body, list) or not body:
        raise Refused(400, "ERR failed to parse command: expected a JSON array with a command name")
    return _available([_argument(item) for item in body])


def _argument(value: object) -> Argument:
    match value:
        case bool():
            return b"true" if value else b"false"
        case str():
            return value.encode("utf-8", "replace")
        case _:
            raise Refused(400, f"ERR failed to parse command: {json.dumps(value)[:40]} is not an argument")


def _available(command: list[Argument]) -> Command:
    name = command[0].decode("utf-8", "replace") if isinstance(command[0], bytes) else command[0]
    blocks = name.upper() in ("XREAD", "XREADGROUP") and any(_upper(word) == b"BLOCK" for word in command)
    if name.upper() in UNAVAILABLE or blocks:
        raise Refused(400, f"ERR Command is not available: '{name.upper()[:40]}'")
    return command


def _upper(word: Argument) -> bytes:
    return (word.encode() if isinstance(word, str) else word).upper()


def _answer(reply: Reply | CommandFailed, encode: Encoder) -> dict[str, object]:
    return {"error": str(reply)} if isinstance(reply, CommandFailed) else {"result": _encoded(reply, encode)}


def _encoded(reply: Reply, encode: Encoder) -> object:
    match reply:
        case bytes():
            return encode(reply)
        case list() | tuple():
            return [_encoded(item, encode) for item in reply]
        case Exception():
            return str(reply)
        case _:
            return reply


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _base64(value: bytes) -> str:
    """Everything but `OK` travels as base64, as clients expect (contract section 1)."""
    return "OK" if value == b"OK" else base64.b64encode(value).decode()

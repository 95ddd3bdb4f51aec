"""The client of a Redis server, with timeouts and with errors that say what to do next."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import certifi
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError, RedisError, ResponseError

from ourvidz_worker.backend.queue.commands import End
from ourvidz_worker.backend.queue.refusals import meaning
from ourvidz_worker.backend.redis.address import passwords
from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, WorkerError
from ourvidz_worker.instruments import exchanges

WAIT_SECONDS = 30.0  # less than what proxies and firewalls let a silent connection live

_CURE = (
    "Redis refuses the user or the password: set OURVIDZ_QUEUE_URL to redis://user:password@host:port/0 "
    "with a user that may run scripts"
)


class RedisClient:
    """The queue's `Redis` at a `redis://` or `rediss://` address, every command within `timeout_seconds`.

    Nothing is repeated: a second claim after a lost answer would take a second job. A connection on which an answer
    is still to come is never used again.
    """

    def __init__(self, *, url: str, timeout_seconds: float) -> None:
        self._secrets = passwords(url)
        self._timeout_seconds = timeout_seconds
        self._may_block = True
        tls = {"ssl_ca_certs": certifi.where()} if url.startswith("rediss:") else {}
        self._redis = Redis.from_url(
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,  # or each connection begins with two commands more
            socket_timeout=None,  # the whole command has a limit
            socket_connect_timeout=None,
            socket_keepalive=True,
            **tls,
        )
        self._redis.response_callbacks.clear()

    async def execute(self, command: list[Any]) -> Any:
        return await self._answer(command, self._timeout_seconds)

    async def eval(self, script: str, keys: list[str], args: list[Any]) -> Any:
        arguments = [len(keys), *keys, *args]
        try:
            return await self.execute(["EVALSHA", _digest(script), *arguments])
        except _ScriptUnknown:
            return await self.execute(["EVAL", script, *arguments])

    async def exists(self, key: str) -> int:
        return int(await self.execute(["EXISTS", key]))

    async def mget(self, *keys: str) -> list[str | None]:
        return list(await self.execute(["MGET", *keys]))

    async def set(self, key: str, value: str, *, ex: int) -> object:
        return await self.execute(["SET", key, value, "EX", ex])

    async def delete(self, key: str) -> int:
        return int(await self.execute(["DEL", key]))

    async def ttl(self, key: str) -> int:
        return int(await self.execute(["TTL", key]))

    async def llen(self, key: str) -> int:
        return int(await self.execute(["LLEN", key]))

    async def lrange(self, key: str, start: int, stop: int) -> list[str]:
        return list(await self.execute(["LRANGE", key, start, stop]))

    async def scan(self, cursor: int, *, match: str, count: int) -> tuple[int, list[str]]:
        following, keys = await self.execute(["SCAN", cursor, "MATCH", match, "COUNT", count])
        return int(following), keys

    async def wait_for(self, key: str, end: End, pause: float) -> None:
        """Up to `WAIT_SECONDS`. The element that comes is taken and put back in one step, at the same end."""
        side = end.upper()
        try:
            if self._may_block:
                await self._answer(["BLMOVE", key, key, side, side, WAIT_SECONDS], WAIT_SECONDS + self._timeout_seconds)
                return
        except BackendRefused as error:
            self._may_block = False
            structlog.get_logger().warning("queue_polled", problem=str(error))
        except WorkerError:
            pass  # the next look says what is wrong
        await asyncio.sleep(pause)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _answer(self, command: list[Any], seconds: float) -> Any:
        with exchanges.redis_command(str(command[0])), self._meaning():
            async with asyncio.timeout(seconds):
                return _decoded(await self._redis.execute_command(*map(_encoded, command)))

    @contextmanager
    def _meaning(self) -> Iterator[None]:
        """Turn the errors of the library into ours."""
        try:
            yield
        except NoScriptError as error:
            raise _ScriptUnknown("Redis does not know the script") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise self._problem(error) from error

    def _problem(self, error: Exception) -> WorkerError:
        if isinstance(error, AuthenticationError):
            return BackendRefused(_CURE)
        if isinstance(error, ResponseError | BusyLoadingError):
            code = error.status_code  # which the library takes off the text of those that it knows
            text = f"{code} {error}" if code else str(error)
            return meaning(text, *self._secrets, credentials=_CURE)
        reason = str(error) or type(error).__name__
        return BackendUnavailable(f"Redis did not answer: {quoted(reason, *self._secrets)}")


class _ScriptUnknown(BackendRefused):
    pass


@lru_cache(maxsize=32)
def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _encoded(word: Any) -> bytes:
    return str(word).encode("utf-8", "surrogateescape")


def _decoded(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_decoded(item) for item in reply]
    return reply.decode("utf-8", "surrogateescape") if isinstance(reply, bytes) else reply

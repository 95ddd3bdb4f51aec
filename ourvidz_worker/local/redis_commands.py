"""Redis commands with the server's own answers, from an in-process Redis or a real one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

Argument = bytes | str
Command = Sequence[Argument]
Reply = Any  # None | int | bytes | list[Reply]: what RESP2 knows


class CommandFailed(Exception):
    """Redis refused a command; the message is the server's own, code first ("WRONGTYPE Operation …")."""


class RedisUnreachable(ConnectionError):
    """The Redis server behind the embedded backend does not answer."""


class RedisCommands:
    """Runs any command and gives back the plain RESP2 reply, without a client library's conversions."""

    def __init__(self, url: str | None = None) -> None:
        # A retry inside the client would pop a second element when only the answer of the first was lost.
        once = Retry(NoBackoff(), 0)
        # More requests at once than connections wait for one.
        self._redis: Redis = (
            Redis.from_pool(BlockingConnectionPool.from_url(url, protocol=2, retry=once))
            if url
            else FakeAsyncRedis(server=FakeServer(), protocol=2, retry=once)
        )
        self._redis.response_callbacks.clear()

    async def check(self) -> None:
        """Raises `RedisUnreachable` when no server answers, or it does not let us in."""
        try:
            await self.execute(["PING"])
        except CommandFailed as error:
            raise RedisUnreachable(f"Redis refuses to work for us: {error}") from error

    async def execute(self, command: Command) -> Reply:
        """Raises `CommandFailed` or `RedisUnreachable`."""
        try:
            return await self._redis.execute_command(*command)
        except ResponseError as error:
            raise CommandFailed(describe(error)) from error
        except RedisError as error:
            raise _failure(error) from error

    async def transaction(self, commands: Sequence[Command]) -> list[Reply | CommandFailed]:
        """All commands in one MULTI/EXEC; a command that failed has its `CommandFailed` in its place.

        Raises `CommandFailed` when the server discarded the transaction.
        """
        pipeline = self._redis.pipeline(transaction=True)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            replies = await pipeline.execute(raise_on_error=False)
        except ResponseError as error:
            raise CommandFailed("EXECABORT Transaction discarded because of previous errors.") from error
        except RedisError as error:
            raise _failure(error) from error
        return [CommandFailed(describe(reply)) if isinstance(reply, RedisError) else reply for reply in replies]

    async def close(self) -> None:
        await self._redis.aclose()


def describe(error: RedisError) -> str:
    """The server's error line: redis-py strips the code that callers look for ("NOSCRIPT …")."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def _failure(error: RedisError) -> Exception:
    if getattr(error, "status_code", None):
        return CommandFailed(describe(error))
    return RedisUnreachable(f"Redis does not answer: {error}")

"""What the queue asks of Redis, whoever carries it there."""

from __future__ import annotations

from typing import Any, Literal, Protocol

End = Literal["right", "left"]


class Redis(Protocol):
    """A client without retries, every command within a time limit. Bytes that are not UTF-8 are surrogate escapes.

    A command raises `BackendUnavailable` when its outcome is not known, `QuotaExceeded`, and `BackendRefused` for
    wrong credentials or a command that Redis refuses.
    """

    async def execute(self, command: list[Any], /) -> Any:
        """A command as the words it is made of."""

    async def eval(self, script: str, keys: list[str], args: list[Any], /) -> Any: ...

    async def exists(self, key: str, /) -> int: ...

    async def mget(self, *keys: str) -> list[str | None]: ...

    async def set(self, key: str, value: str, /, *, ex: int) -> object:
        """`ex` is the key's lifetime in seconds."""

    async def delete(self, key: str, /) -> int: ...

    async def ttl(self, key: str, /) -> int: ...

    async def llen(self, key: str, /) -> int: ...

    async def lrange(self, key: str, start: int, stop: int, /) -> list[str]: ...

    async def scan(self, cursor: int, /, *, match: str, count: int) -> tuple[int, list[str]]: ...

    async def wait_for(self, key: str, end: End, pause: float, /) -> None:
        """Return when a list may hold something: as soon as it does or, where Redis cannot tell, after `pause` seconds.

        The list stays as it is. Raises nothing: what is wrong shows at the next command.
        """

    async def close(self) -> None: ...

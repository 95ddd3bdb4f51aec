"""What the pods say of themselves, read from the status that each of them answers with."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

_SECONDS = 3.0
_LARGEST = 4_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Pod:
    """One address: its status document, or the sentence that says why there is none."""

    address: str
    status: Mapping[str, Any]
    problem: str | None = None


class Pods:
    """Asks all pods at once, over connections that stay open; a pod out of reach is no error."""

    def __init__(self, pods: Sequence[str]) -> None:
        self._addresses = pods
        self._session: aiohttp.ClientSession | None = None

    async def look(self) -> list[Pod]:
        if not self._addresses:
            return []
        if self._session is None:
            # Without trust_env: a pod's own address is not behind a proxy.
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS))
        return await asyncio.gather(*(self._ask(self._session, address) for address in self._addresses))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, session: aiohttp.ClientSession, address: str) -> Pod:
        try:
            async with session.get(f"{address}/status", allow_redirects=False) as answer:
                document = json.loads(await _limited(answer.content))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Pod(address, {}, f"no pod answers at {address} ({_cause(error)})")
        except (ValueError, RecursionError):
            return Pod(address, {}, f"what answers at {address} is no pod: its /status is not JSON")
        if not isinstance(document, dict) or not isinstance(document.get("workers"), dict):
            return Pod(address, {}, f"what answers at {address} is no pod: its /status names no workers")
        return Pod(address, document)


async def _limited(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _LARGEST:
            raise ValueError("no status is as large as this")
    return bytes(body)


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {_SECONDS:g} s"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno  # the event loop puts a sentence of its own in place of the system's
        return os.strerror(number).lower() if number and number > 0 else str(error.os_error)
    return type(error).__name__

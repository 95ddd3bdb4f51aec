"""Requests and whole answers over HTTP connections that are kept, at a fraction of what they cost httpx.

httpx and its h11 read HTTP in Python; aiohttp reads it in C. For the small requests that every job makes that is most
of what a job costs the processor (`scripts/bench/dispatch`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from ourvidz_worker.backend.trust import trusted

_LARGE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` is read without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """One client's connections to one server. Nothing is repeated, no redirect is followed and no cookie kept.

    The connections belong to the event loop of the first request.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """Raises `TimeoutError` when the whole answer is not there within `seconds`, and `aiohttp.ClientError`."""
        session = self._session = self._session or _open(url)
        limit = aiohttp.ClientTimeout(total=seconds)
        data = body if len(body) < _LARGE else BytesIO(body)  # in pieces, between which others get their turn
        async with session.post(url, data=data, headers=headers, timeout=limit, allow_redirects=False) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _open(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trusted()),
        cookie_jar=aiohttp.DummyCookieJar(),
        # aiohttp itself would read the environment again for each request, in another thread.
        proxy=_proxy(url),
    )


def _proxy(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names for a server, unless NO_PROXY does."""
    server = urlsplit(url)
    if server.hostname is None or proxy_bypass(server.hostname):
        return None
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"

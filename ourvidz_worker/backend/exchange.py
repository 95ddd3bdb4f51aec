"""Requests and whole answers over kept HTTP connections, for a fraction of the processor time of httpx.

httpx and its h11 read HTTP in Python; aiohttp reads it in C. For the small requests that every job makes that is most
of what a job costs the processor (`scripts/bench/dispatch`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from ourvidz_worker.backend.trust import trusted
from ourvidz_worker.instruments import tracing

IDLE_SECONDS = 0.5
_ROUNDS_TO_CLOSE = 4  # of the event loop: one to look, and what TLS needs to close
_LARGE = 256 * 1024
_PIECE = 64 * 1024
_KINDS: Mapping[type[Exception], type[httpx.TransportError]] = {
    aiohttp.ConnectionTimeoutError: httpx.ConnectTimeout,
    TimeoutError: httpx.ReadTimeout,
    aiohttp.ClientProxyConnectionError: httpx.ProxyError,
    aiohttp.ClientHttpProxyError: httpx.ProxyError,
    aiohttp.ClientConnectorError: httpx.ConnectError,
    aiohttp.ClientOSError: httpx.ReadError,
    aiohttp.ClientError: httpx.RemoteProtocolError,
}
"""What httpx calls an error of aiohttp; the first kind that fits."""


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
        self._used_at = 0.0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """Raises `TimeoutError` when the whole answer is not there within `seconds`, and `aiohttp.ClientError`."""
        limit = aiohttp.ClientTimeout(total=seconds)
        session = await self.session(url)
        async with session.post(
            url, data=_in_pieces(body), headers=headers, timeout=limit, allow_redirects=False
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def session(self, url: str) -> aiohttp.ClientSession:
        """What holds the connections, for one request of whoever asks for more than `post` knows."""
        last, self._used_at = self._used_at, time.monotonic()
        if self._used_at - last > IDLE_SECONDS:
            await _see_what_came()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted()),
                cookie_jar=aiohttp.DummyCookieJar(),
                # aiohttp itself would read the environment again for each request, in another thread.
                proxy=_proxy(url),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class ExchangeTransport(httpx.AsyncBaseTransport):
    """What stands under an httpx client of one server whose answers are small: they are read whole.

    The limits of `httpx.Timeout` hold for connecting, for writing a piece and for reading; raises httpx's errors.
    """

    def __init__(self) -> None:
        self._exchange = Exchange()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body, url = await request.aread(), str(request.url)
        timeout = request.extensions.get("timeout", {})
        limit = aiohttp.ClientTimeout(sock_connect=timeout.get("connect"), sock_read=timeout.get("read"))
        writing = asyncio.timeout(None)
        try:
            session = await self._exchange.session(url)
            async with (
                writing,
                session.request(
                    request.method,
                    URL(url, encoded=True),
                    data=_pieces(body, writing, timeout.get("write")) if body else None,
                    headers=[*request.headers.multi_items(), *tracing.headers().items()],
                    timeout=limit,
                    allow_redirects=False,
                    auto_decompress=False,  # httpx does
                ) as answer,
            ):
                return httpx.Response(answer.status, headers=answer.raw_headers, content=await answer.read())
        except (TimeoutError, aiohttp.ClientError) as error:
            known = next(kind for known, kind in _KINDS.items() if isinstance(error, known))
            kind = httpx.WriteTimeout if writing.expired() else known
            raise kind(str(error) or type(error).__name__, request=request) from error

    async def aclose(self) -> None:
        await self._exchange.close()


async def _see_what_came() -> None:
    """After a pause of the process or of its event loop, the end of a kept connection is there and not yet seen."""
    for _ in range(_ROUNDS_TO_CLOSE):
        await asyncio.sleep(0)


async def _pieces(body: bytes, writing: asyncio.Timeout, seconds: float | None) -> AsyncIterator[bytes]:
    """A large body goes out in pieces, between which others get their turn.

    aiohttp waits for ever for a server that does not read on, so each piece has `seconds` in `writing` to be taken.
    """
    loop = asyncio.get_running_loop()
    for start in range(0, len(body), _PIECE):
        if seconds is not None:
            writing.reschedule(loop.time() + seconds)
        yield body[start : start + _PIECE]
    writing.reschedule(None)


def _in_pieces(body: bytes) -> bytes | BytesIO:
    """A large body goes out in pieces, between which others get their turn."""
    return body if len(body) < _LARGE else BytesIO(body)


def _proxy(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names for a server, unless NO_PROXY does."""
    server = urlsplit(url)
    if server.hostname is None or proxy_bypass(server.hostname):
        return None
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"

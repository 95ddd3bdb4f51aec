"""Reference pictures over HTTP: into memory, with limits on bytes, time, redirects and pixels."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import httpx

from ourvidz_worker.backend.pictures import PictureUnusable, decode_picture
from ourvidz_worker.backend.retrying import Sleep, retrying
from ourvidz_worker.contract.job import Reference
from ourvidz_worker.errors import BackendUnavailable, ReferenceUnusable
from ourvidz_worker.ports import ReferenceImage

_MIB = 1024 * 1024
_CONNECT_SECONDS = 5.0
_MAX_REDIRECTS = 3
_WORTH_A_RETRY = frozenset({408, 425, 429})


class HttpReferenceSource:
    """A `ReferenceSource`; `url` and `service_key` are the project's, for paths inside its buckets.

    The key goes to the project's own storage and nowhere else: full URLs carry what they need to be read.
    `total_seconds` bounds one download, `retry_seconds` the repeats after failures of the network.
    """

    def __init__(
        self,
        *,
        url: str,
        service_key: str,
        max_bytes: int = 20 * _MIB,
        max_pixels: int = 40_000_000,
        total_seconds: float = 20.0,
        retry_seconds: float = 3.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._project = httpx.URL(url)
        self._service_key = service_key
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._total_seconds = total_seconds
        self._retry_seconds = retry_seconds
        self._sleep = sleep
        # Without compression the bytes on the wire are the bytes in memory.
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(total_seconds, connect=min(_CONNECT_SECONDS, total_seconds)),
            headers={"Accept-Encoding": "identity"},
            follow_redirects=False,
        )

    async def fetch(self, reference: Reference) -> ReferenceImage:
        content: bytes = await retrying({BackendUnavailable: self._retry_seconds}, sleep=self._sleep)(
            self._download, reference
        )
        try:
            pixels = await asyncio.to_thread(decode_picture, content, max_pixels=self._max_pixels)
        except PictureUnusable as error:
            raise ReferenceUnusable(f"{reference.field} {error}") from error
        return ReferenceImage(reference, pixels)

    async def close(self) -> None:
        await self._http.aclose()

    async def _download(self, reference: Reference) -> bytes:
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._follow(reference)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ReferenceUnusable(f"{reference.field} leads to something that is no URL") from error
        except (TimeoutError, httpx.HTTPError) as error:
            # The address may hold a signed token; the kind of failure has to do.
            raise BackendUnavailable(f"{reference.field} could not be downloaded ({type(error).__name__})") from error

    async def _follow(self, reference: Reference) -> bytes:
        in_bucket = "://" not in reference.source
        url = self._bucket_url(reference.source) if in_bucket else _parsed(reference, reference.source)
        for _ in range(_MAX_REDIRECTS + 1):
            headers = self._credentials() if in_bucket and _origin(url) == _origin(self._project) else {}
            async with self._http.stream("GET", url, headers=headers) as answer:
                if not answer.has_redirect_location:
                    return await self._content(reference, answer)
                url = _parsed(reference, answer.headers["Location"], base=url)
        raise ReferenceUnusable(f"{reference.field} redirects more than {_MAX_REDIRECTS} times")

    async def _content(self, reference: Reference, answer: httpx.Response) -> bytes:
        status = answer.status_code
        if status >= 500 or status in _WORTH_A_RETRY:
            raise BackendUnavailable(f"{reference.field} could not be downloaded (HTTP {status})")
        if status != 200:
            raise ReferenceUnusable(f"{reference.field} cannot be downloaded: HTTP {status}, the link may have expired")
        content = bytearray()
        async for chunk in answer.aiter_raw():
            content += chunk
            if len(content) > self._max_bytes:
                raise ReferenceUnusable(f"{reference.field} is larger than {self._max_bytes / _MIB:g} MiB")
        return bytes(content)

    def _bucket_url(self, path: str) -> httpx.URL:
        return httpx.URL(f"{str(self._project).rstrip('/')}/storage/v1/object/{quote(path)}")

    def _credentials(self) -> dict[str, str]:
        return {"apikey": self._service_key, "Authorization": f"Bearer {self._service_key}"}


def _parsed(reference: Reference, location: str, base: httpx.URL | None = None) -> httpx.URL:
    url = base.join(location) if base else httpx.URL(location)
    if url.scheme not in ("http", "https") or not url.host:
        raise ReferenceUnusable(f"{reference.field} leads to something else than http or https")
    return url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port  # httpx drops default ports

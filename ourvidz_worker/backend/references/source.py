"""Reference pictures over HTTP: from allowed hosts alone, with limits on bytes, time, redirects and pixels."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import quote

import httpx

from ourvidz_worker.backend.references.addresses import Resolver, resolve
from ourvidz_worker.backend.references.destinations import (
    Destination,
    DestinationRefused,
    Destinations,
    host_of,
    shown_host,
)
from ourvidz_worker.backend.references.pictures import PictureUnusable, decode_picture
from ourvidz_worker.backend.references.stored import StoredFiles, StoredFileUnusable
from ourvidz_worker.backend.retrying import Sleep, retrying, worth_a_retry
from ourvidz_worker.backend.trust import trusted
from ourvidz_worker.contract.job import Reference
from ourvidz_worker.errors import BackendUnavailable, ReferenceUnusable
from ourvidz_worker.ports import ReferenceImage

_MIB = 1024 * 1024
_CONNECT_SECONDS = 5.0
_MAX_REDIRECTS = 3
_HEADERS = {
    "Accept-Encoding": "identity",  # the bytes on the wire are the bytes in memory
    "User-Agent": "ourvidz_worker",
}


class HttpReferenceSource:
    """A `ReferenceSource`; `url` and `service_key` are the project's, for paths inside its buckets.

    Where results go elsewhere, these paths are read from there (`stored`), and there may be no project (`url=None`).

    Full URLs lead to the project's own host or, with https, to one of `hosts` (`*.` entries as in
    `reference_hosts`) where all its addresses are public; redirects, too. The key goes to the project's own
    storage and nowhere else: full URLs carry what they need to be read.
    `total_seconds` bounds one download, `retry_seconds` the repeats after failures of the network.
    """

    def __init__(  # noqa: PLR0913 - a limit of each kind
        self,
        *,
        url: str | None,
        service_key: str,
        stored: StoredFiles | None = None,
        hosts: Sequence[str] = (),
        max_bytes: int = 20 * _MIB,
        max_pixels: int = 40_000_000,
        total_seconds: float = 20.0,
        retry_seconds: float = 3.0,
        sleep: Sleep = asyncio.sleep,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._project = None if url is None else httpx.URL(url)
        self._stored = stored
        self._service_key = service_key
        self._destinations = Destinations(project=self._project, hosts=hosts, resolve=resolver)
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._total_seconds = total_seconds
        self._retry_seconds = retry_seconds
        self._sleep = sleep
        # A decoded picture may take a gigabyte on the way.
        self._decoding = asyncio.Lock()
        timeout = httpx.Timeout(total_seconds, connect=min(_CONNECT_SECONDS, total_seconds))
        self._extensions = {"timeout": timeout.as_dict()}
        # Without a client around it nothing is added: no cookies, no redirects, and no proxy that looks up the name.
        self._http = httpx.AsyncHTTPTransport(
            verify=ssl_context or trusted(),
            # The pool knows a connection by its address, but its certificate was checked for one host name.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def fetch(self, reference: Reference) -> ReferenceImage:
        content: bytes = await retrying("reference", {BackendUnavailable: self._retry_seconds}, sleep=self._sleep)(
            self._download, reference
        )
        try:
            async with self._decoding:
                pixels = await asyncio.to_thread(decode_picture, content, max_pixels=self._max_pixels)
        except PictureUnusable as error:
            raise ReferenceUnusable(f"{reference.field} {error}") from error
        return ReferenceImage(reference, pixels)

    async def close(self) -> None:
        await self._http.aclose()

    async def _download(self, reference: Reference) -> bytes:
        try:
            return await self._follow(reference)
        except (DestinationRefused, StoredFileUnusable) as error:
            raise ReferenceUnusable(f"{reference.field} {error}") from error
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ReferenceUnusable(f"{reference.field} leads to something that is no URL") from error

    async def _follow(self, reference: Reference) -> bytes:
        ends = asyncio.get_running_loop().time() + self._total_seconds
        in_bucket = "://" not in reference.source
        if in_bucket and self._stored is not None:
            return await self._read(self._stored, reference)
        url = self._bucket_url(reference.source) if in_bucket else httpx.URL(reference.source)
        for _ in range(_MAX_REDIRECTS + 1):
            headers = self._credentials() if in_bucket and self._destinations.is_project(url) else {}
            try:
                async with asyncio.timeout_at(ends):
                    found = await self._hop(reference, url, headers)
            except (OSError, httpx.HTTPError) as error:
                # The address may hold a signed token; the host and the kind of failure have to do.
                raise BackendUnavailable(
                    f"{reference.field} could not be downloaded from {shown_host(url)} ({_kind(error)})"
                ) from error
            if isinstance(found, bytes):
                return found
            url = found
        raise ReferenceUnusable(f"{reference.field} redirects more than {_MAX_REDIRECTS} times")

    async def _read(self, stored: StoredFiles, reference: Reference) -> bytes:
        try:
            async with asyncio.timeout(self._total_seconds):
                return await stored.read(reference.source, max_bytes=self._max_bytes)
        except TimeoutError as error:
            raise BackendUnavailable(f"{reference.field} could not be read from the store in time") from error

    async def _hop(self, reference: Reference, url: httpx.URL, headers: dict[str, str]) -> bytes | httpx.URL:
        """What lies at a URL: the content, or the next URL to go to."""
        destination = await self._destinations.find(url)
        async with aclosing(await self._answer(destination, headers)) as answer:
            if answer.has_redirect_location:
                return url.join(answer.headers["Location"])
            return await self._content(reference, answer)

    async def _answer(self, destination: Destination, headers: dict[str, str]) -> httpx.Response:
        """The answer from the first address that takes a connection.

        The name is not looked up again: who owns it could answer differently the second time.
        """
        url = destination.url
        failure: httpx.TransportError = httpx.ConnectError("the host has no address")
        for address in destination.addresses:
            request = httpx.Request(
                "GET",
                url.copy_with(host=address),
                headers={**_HEADERS, **headers, "Host": url.netloc.decode("ascii")},
                extensions={**self._extensions, "sni_hostname": host_of(url)},
            )
            try:
                return await self._http.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _content(self, reference: Reference, answer: httpx.Response) -> bytes:
        status = answer.status_code
        if worth_a_retry(status):
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
        assert self._project is not None, "paths inside buckets are read from the project or from the store"
        return httpx.URL(f"{str(self._project).rstrip('/')}/storage/v1/object/{quote(path)}")

    def _credentials(self) -> dict[str, str]:
        return {"apikey": self._service_key, "Authorization": f"Bearer {self._service_key}"}


def _kind(failure: BaseException) -> str:
    """A failure of the network in a few words; the libraries wrap what they know into each other."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "the name of the host is not known"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "the certificate of the host is not valid"
        cause = cause.__cause__ or cause.__context__
    return type(failure).__name__

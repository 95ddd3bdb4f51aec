"""Where a reference's URL leads, and whether it may be followed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from ourvidz_worker.backend.references.addresses import Resolver, is_public
from ourvidz_worker.backend.references.hosts import matches
from ourvidz_worker.backend.wording import quoted

_DEFAULT_PORTS = {"http": 80, "https": 443}


class DestinationRefused(ValueError):
    """Why a URL is not followed, as the rest of a sentence that begins with its field."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL that may be followed, and the addresses of its host that were found fit for it."""

    url: httpx.URL
    addresses: tuple[str, ...]


class Destinations:
    """The project's own origin, and `https` on the listed hosts, where all their addresses are public.

    The project's host may have any address: it is the operator who named it. Without a project only the listed hosts
    are left.
    """

    def __init__(self, *, project: httpx.URL | None, hosts: Sequence[str], resolve: Resolver) -> None:
        self._project = project and _canonical(project)
        self._hosts = tuple(hosts)
        self._resolve = resolve

    async def find(self, url: httpx.URL) -> Destination:
        """Look the host up, once; raises `DestinationRefused`, or `OSError` where it has no address."""
        url = _canonical(url)
        self._check(url)
        addresses = await self._resolve(host_of(url), url.port or _DEFAULT_PORTS[url.scheme])
        if not self._is_project_host(url) and not all(map(is_public, addresses)):
            raise DestinationRefused(f"leads to {shown_host(url)}, which is not on the public internet")
        return Destination(url, addresses)

    def is_project(self, url: httpx.URL) -> bool:
        """Whether a URL has the project's scheme, host and port."""
        return self._project is not None and _origin(url) == _origin(self._project)

    def _check(self, url: httpx.URL) -> None:
        if url.userinfo:
            raise DestinationRefused("holds a user name or a password; send an address without")
        if self.is_project(url):
            return
        host = shown_host(url)
        if url.scheme != "https" or not host:
            raise DestinationRefused("leads to something else than https; send an https address")
        if not self._is_project_host(url) and not matches(host_of(url), self._hosts):
            raise DestinationRefused(
                f"leads to {host}, which is not an allowed host; put the picture into the product's storage, or ask "
                "the operator to add the host to OURVIDZ_REFERENCE_HOSTS"
            )
        if url.port is not None:
            raise DestinationRefused(f"leads to port {url.port} of {host}; only the usual port of https is allowed")

    def _is_project_host(self, url: httpx.URL) -> bool:
        return self._project is not None and host_of(url) == host_of(self._project)


def host_of(url: httpx.URL) -> str:
    """The host as it goes over the wire: lower case, and in Punycode where it is not ASCII."""
    return url.raw_host.decode("ascii")


def shown_host(url: httpx.URL) -> str:
    """The host for a sentence. Nothing else of a URL is shown: it may hold a signature."""
    return quoted(host_of(url))


def _canonical(url: httpx.URL) -> httpx.URL:
    """With the one spelling of its host that all checks compare: a name's final dot means nothing here."""
    return url.copy_with(host=host_of(url).removesuffix(".")) if url.host.endswith(".") else url


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, host_of(url), url.port  # httpx drops default ports

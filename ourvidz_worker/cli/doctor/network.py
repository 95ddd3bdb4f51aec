"""The way to the product: names, proxies, certificates, and whether the clocks agree."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from ourvidz_worker.backend.loopback import is_loopback
from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, note

_SECONDS = 10.0
_SKEW = 30.0  # seconds; leases are counted by Redis, signatures and the age of jobs by this machine
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


async def examine_network(urls: Mapping[str, str]) -> list[Diagnosis]:
    """`urls` by the variable that names them. What does not answer at all is fatal where it is needed, not here."""
    found = await asyncio.gather(*(_look(variable, url) for variable, url in urls.items()))
    return [*proxies(os.environ), *(diagnosis for each in found for diagnosis in each)]


def proxies(environment: Mapping[str, str]) -> Iterator[Diagnosis]:
    for name in _PROXIES:
        value = environment.get(name) or environment.get(name.lower())
        if value:
            place = urlsplit(value if "//" in value else f"//{value}")
            shown = f"{place.hostname}:{place.port}" if _port(value) else place.hostname
            cure = f"unset {name}, or list the product's hosts in NO_PROXY, where the proxy is not meant for workers"
            yield note("network", f"{name} sends requests through {shown}", cure)


async def _look(variable: str, url: str) -> list[Diagnosis]:
    host = urlsplit(url).hostname or ""
    try:
        client = httpx.AsyncClient(timeout=_SECONDS, trust_env=not is_loopback(url))
        async with asyncio.timeout(_SECONDS), client as http:
            asked = time.time()
            answer = await http.head(url)
            heard = time.time()
    except (TimeoutError, httpx.HTTPError) as error:
        return [note("network", *trouble(error, host, variable))]
    return [skew] if (skew := clock_skew(answer.headers.get("date"), asked, heard, host)) else []


def clock_skew(date: str | None, asked: float, heard: float, host: str) -> Diagnosis | None:
    """A `Date` has whole seconds and was written between question and answer (RFC 9110, 6.6.1)."""
    try:
        told = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError):
        return None
    ahead = asked - (told + 1) if asked > told + 1 else min(0.0, heard - told)
    if abs(ahead) <= _SKEW:
        return good("network", f"{host} answers, and its clock agrees with this machine's")
    way = "ahead of" if ahead > 0 else "behind"
    cure = "set the machine's clock (NTP); until then ages of jobs are wrong, and signed addresses may not be taken"
    return note("network", f"this machine's clock is {abs(ahead):.0f} s {way} that of {host}", cure)


def trouble(error: Exception, host: str, variable: str) -> tuple[str, str]:
    """The sentence on what stands in the way, and its cure, from the first cause that is known."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return (
                f"the name {host} is not known here",
                f"check {variable}, and the pod's name servers (/etc/resolv.conf)",
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = getattr(cause, "verify_message", None) or "it is not valid"
            cure = "correct the clock, or add the authority of a proxy in between to SSL_CERT_FILE"
            return f"the certificate of {host} is refused: {reason}", cure
        if isinstance(cause, ConnectionRefusedError):
            return f"{host} refuses connections", f"check {variable} and its port"
    kind = "within 10 s" if isinstance(error, TimeoutError | httpx.TimeoutException) else f"({type(error).__name__})"
    return f"{host} does not answer {kind}", f"check {variable}, and what the pod's network lets out"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting = [error]
    while waiting and len(seen) < 20:
        cause = waiting.pop(0)
        seen.append(cause)
        yield cause
        followers = (cause.__cause__, cause.__context__, *getattr(cause, "exceptions", ()))
        waiting += [follower for follower in followers if follower is not None and follower not in seen]


def _port(value: str) -> bool:
    try:
        return urlsplit(value if "//" in value else f"//{value}").port is not None
    except ValueError:
        return False

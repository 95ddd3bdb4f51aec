"""The address of a Redis server, which may hold its password."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

_ENCODE = "in a password write % as %25, @ as %40, / as %2F, : as %3A, ? as %3F and # as %23"


def check_address(url: str) -> None:
    """Raises `ValueError` with what is wrong, without a word of the address itself."""
    if url.startswith(("https://", "http://")):
        raise ValueError(
            "is a REST address, and must begin with redis:// or rediss://; put it into UPSTASH_REDIS_REST_URL"
        )
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("must begin with redis:// or, with TLS, rediss://")
    try:
        parts = urlsplit(url)
        host, port, database = parts.hostname, parts.port, parts.path.removeprefix("/")
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"has a port that is none; {_ENCODE}")
    if not host:
        raise ValueError(f"names no host; {_ENCODE}")
    if parts.query or parts.fragment or not (database.isdecimal() or not database):
        raise ValueError(f"must end with the number of the database, like redis://host:6379/0; {_ENCODE}")


def passwords(url: str) -> tuple[str, ...]:
    """The password of an address, as it stands there and as it is meant; empty where there is none."""
    password = urlsplit(url).password or ""
    return tuple(dict.fromkeys(filter(None, (password, unquote(password)))))

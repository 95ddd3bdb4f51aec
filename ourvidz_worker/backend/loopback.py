"""Addresses of this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

_HERE = ("127.0.0.1", "::1", "localhost")


def is_loopback(url: str) -> bool:
    """Whether no proxy of the environment leads there."""
    return urlsplit(url).hostname in _HERE

"""Whose certificates are believed: read once for all clients, for each reading takes a cold start 40 ms."""

from __future__ import annotations

import ssl
from functools import lru_cache

import httpx


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """The authorities that httpx believes, those of SSL_CERT_FILE or SSL_CERT_DIR included."""
    return httpx.create_ssl_context()

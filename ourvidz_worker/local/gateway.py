"""What stands before every Supabase service: who is calling, and which browsers may call."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from ourvidz_worker.local.keys import BadToken, Identity, Keys

CROSS_ORIGIN = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["*"],
    allow_headers=["*"],
    expose_headers=["Content-Range", "Location", "Tus-Resumable", "Upload-Offset", "Upload-Length"],
)


def bearer(request: Request, keys: Keys) -> Identity:
    """Who the `Authorization` header names, or else the `apikey` header.

    Raises `BadToken` when both are missing or the token is not valid.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        token = request.headers.get("apikey", "")
    if not token:
        raise BadToken("no bearer token in the authorization header")
    return keys.identify(token.strip())

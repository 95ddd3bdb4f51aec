"""Sign-in for the users of the embedded backend, as `supabase` expects it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.gateway import bearer
from ourvidz_worker.local.json_body import parse_json
from ourvidz_worker.local.keys import BadToken, Identity, Keys
from ourvidz_worker.local.schema import now

DEMO_USER_ID = "b1f0c1de-0000-4000-8000-00000000a001"
DEMO_EMAIL = "demo@ourvidz.example"
SESSION_SECONDS = 3600


class Auth:
    """The routes below `/auth/v1`: password and refresh grants, the user, signing out."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    def provide_demo_user(self) -> None:
        """Make the user that the recorded jobs belong to, with the data folder's password."""
        if self._database.one("users", "id = ?", DEMO_USER_ID) is None:
            password_hash = _hashed(self._keys.demo_password)
            self._database.insert("users", {"id": DEMO_USER_ID, "email": DEMO_EMAIL, "password_hash": password_hash})

    def demo_session(self) -> dict[str, Any]:
        """What signing in as the demo user answers."""
        (user,) = self._database.select("users", "id = ?", [DEMO_USER_ID])
        return self._session(user, str(uuid.uuid4()))

    def routes(self) -> list[Route]:
        return [
            Route("/token", self.token, methods=["POST"]),
            Route("/user", self.user, methods=["GET"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
        ]

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"name": "GoTrue", "description": "embedded development backend"})

    async def token(self, request: Request) -> Response:
        body = await _json(request)
        match grant := request.query_params.get("grant_type"):
            case "password":
                user = self._database.one("users", "email = ?", str(body.get("email", "")).lower())
                password = str(body.get("password", ""))
                if user is None or not await asyncio.to_thread(_matches, password, user["password_hash"]):
                    return _refusal(400, "invalid_credentials", "Invalid login credentials")
                return JSONResponse(self._session(user, str(uuid.uuid4())))
            case "refresh_token":
                # A refresh token works once: taking it out is the check.
                spent = self._database.delete("refresh_tokens", "token = ?", [str(body.get("refresh_token"))])
                user = self._database.one("users", "id = ?", spent[0]["user_id"]) if spent else None
                if user is None:
                    message = "Invalid Refresh Token: Refresh Token Not Found"
                    return _refusal(400, "refresh_token_not_found", message)
                return JSONResponse(self._session(user, spent[0]["session_id"]))
            case _:
                message = f"grant_type must be password or refresh_token, not {grant!r}"
                return _refusal(400, "validation_failed", message)

    async def user(self, request: Request) -> Response:
        found = self._signed_in(request)
        return found if isinstance(found, Response) else JSONResponse(_public(found))

    async def logout(self, request: Request) -> Response:
        found = self._signed_in(request)
        if isinstance(found, Response):
            return found
        self._database.delete("refresh_tokens", "user_id = ?", [found["id"]])
        return Response(status_code=204)

    def _signed_in(self, request: Request) -> Row | Response:
        try:
            identity: Identity = bearer(request, self._keys)
        except BadToken as error:
            return _refusal(403, "bad_jwt", f"invalid JWT: {error}")
        user = self._database.one("users", "id = ?", identity.user_id)
        return user or _refusal(403, "bad_jwt", "invalid claim: missing sub claim")

    def _session(self, user: Row, session_id: str) -> dict[str, Any]:
        self._database.update("users", {"last_sign_in_at": now()}, "id = ?", [user["id"]])
        refresh_token = secrets.token_urlsafe(16)
        self._database.insert(
            "refresh_tokens", {"token": refresh_token, "user_id": user["id"], "session_id": session_id}
        )
        claims = {
            "sub": user["id"],
            "role": "authenticated",
            "aud": "authenticated",
            "email": user["email"],
            "session_id": session_id,
        }
        return {
            "access_token": self._keys.sign(claims, SESSION_SECONDS),
            "token_type": "bearer",
            "expires_in": SESSION_SECONDS,
            "expires_at": int(time.time()) + SESSION_SECONDS,
            "refresh_token": refresh_token,
            "user": _public(user),
        }


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = parse_json(await request.body() or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": status, "error_code": code, "msg": message}, status)


def _public(user: Row) -> dict[str, Any]:
    return {
        "id": user["id"],
        "aud": "authenticated",
        "role": "authenticated",
        "email": user["email"],
        "email_confirmed_at": user["created_at"],
        "last_sign_in_at": user["last_sign_in_at"],
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "identities": [],
        "created_at": user["created_at"],
        "updated_at": user["last_sign_in_at"] or user["created_at"],
        "is_anonymous": False,
    }


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}:{_derived(password, salt)}"


def _matches(password: str, password_hash: str) -> bool:
    salt, _, expected = password_hash.partition(":")
    return hmac.compare_digest(_derived(password, bytes.fromhex(salt)), expected)


def _derived(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1).hex()

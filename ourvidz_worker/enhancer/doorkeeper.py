"""Who is inside, and who is still let in."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_COME_BACK_SECONDS = 5


class Doorkeeper:
    """An ASGI application that answers 503 once its doors are closed, and knows when the last request is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._closed = False
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def close(self) -> None:
        """Let nobody in any more; who is inside stays."""
        self._closed = True

    async def last_left(self) -> None:
        await self._empty.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._closed:
            await _turned_away(scope, receive, send)
            return
        self._inside += 1
        self._empty.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()


_turned_away = JSONResponse(
    {"success": False, "state": "DRAINING", "error": "the qwen worker is shutting down; ask again in a moment"},
    503,
    headers={"Retry-After": str(_COME_BACK_SECONDS)},
)

"""Who is inside, and who is still let in."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLEARING_SECONDS = 1.0
_COME_BACK_SECONDS = 5


class Doorkeeper:
    """An ASGI application that answers 503 once its doors are closed, and knows when the last request is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._closed = self._cleared = False
        self._inside: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def close(self) -> None:
        """Let nobody in any more; who is inside stays."""
        self._closed = True

    async def last_left(self) -> None:
        await self._empty.wait()

    async def clear(self) -> None:
        """Turn away whoever is still inside; an answer that has begun breaks off."""
        self._cleared = True
        for request in self._inside:
            request.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLEARING_SECONDS):
                await self.last_left()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._closed:
            await _turned_away(scope, receive, send)
            return
        request = cast("asyncio.Task[None]", asyncio.current_task())
        self._inside.add(request)
        self._empty.clear()
        begun = False

        async def tell(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except asyncio.CancelledError:
            if not self._cleared:
                raise
            request.uncancel()
            if not begun:
                await _turned_away(scope, receive, send)
        finally:
            self._inside.discard(request)
            if not self._inside:
                self._empty.set()


_turned_away = JSONResponse(
    {"success": False, "state": "DRAINING", "error": "the qwen worker is shutting down; ask again in a moment"},
    503,
    headers={"Retry-After": str(_COME_BACK_SECONDS)},
)

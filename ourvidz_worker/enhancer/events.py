"""An answer in pieces, as server-sent events: `piece` events, and one `result` or `error` at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ourvidz_worker.enhancer.presence import ClientGone, while_present


def event(name: str, content: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()


class EventStream(Response):
    """Sends events as they come, for `seconds` at most; a client that hangs up ends them at once.

    Closes `source` in any case: neither a client that left nor one that does not read may keep the model.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], source: AsyncGenerator[Any, None], seconds: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._events = events
        self._source = source
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        async with aclosing(self._source):
            with suppress(ClientGone, TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await while_present(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for one in self._events:
            await send({"type": "http.response.body", "body": one, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

"""The operator's page over HTTP: the page, the facts it shows, and the actions it offers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ourvidz_worker.errors import WorkerError
from ourvidz_worker.operate.desk import Desk, Outcome
from ourvidz_worker.operate.guard import Guard, Refusal
from ourvidz_worker.operate.lookout import Lookout

STATIC = Path(__file__).parent / "static"
PREFIX = "/operator"
_LARGEST_ACTION = 4096  # bytes
_NO_GUESSING = {"X-Content-Type-Options": "nosniff"}
_FACTS_HEADERS = {**_NO_GUESSING, "Cache-Control": "no-store"}
_PAGE_HEADERS = {
    **_NO_GUESSING,
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
}

Watch = Callable[[], Awaitable[Lookout]]
"""The lookout of whoever serves the page; opened when it is first asked for."""


class OperatorPage:
    """`struck_out` removes secrets from what leaves.

    The studio serves the elements that all pages share; `shared` is where they lie, for whoever has no studio.
    """

    def __init__(
        self, watch: Watch, guard: Guard, *, struck_out: Callable[[str], str] = str, shared: Path | None = None
    ) -> None:
        self._watch = watch
        self._guard = guard
        self._struck_out = struck_out
        self._shared = shared

    def routes(self) -> list[BaseRoute]:
        ours: list[BaseRoute] = [
            Route(PREFIX, self._page),
            Route(f"{PREFIX}/facts", self._facts),
            Route(f"{PREFIX}/actions", self._action, methods=["POST"]),
            Mount(f"{PREFIX}/static", StaticFiles(directory=STATIC)),
        ]
        return [*ours, Mount("/static", StaticFiles(directory=self._shared))] if self._shared else ours

    async def _page(self, request: Request) -> Response:
        if refusal := self._guard.page(request):
            return _refused(refusal)
        return FileResponse(STATIC / "operator.html", media_type="text/html", headers=_PAGE_HEADERS)

    async def _facts(self, request: Request) -> Response:
        if refusal := self._guard.look(request):
            return _refused(refusal)
        lookout = await self._watch()
        return self._said({**await lookout.facts(), "studio": self._shared is None})

    async def _action(self, request: Request) -> Response:
        if refusal := self._guard.act(request):
            return _refused(refusal)
        asked = await _asked(request)
        if asked is None:
            return _refused(Refusal(400, _WHAT_AN_ACTION_IS))
        lookout = await self._watch()
        if lookout.desk is None:
            return _refused(Refusal(503, "nothing can be done here: the backend is not known"))
        try:
            outcome = await _carried_out(asked, lookout.desk)
        except WorkerError as error:
            return self._said({"error": str(error)}, status=502)
        finally:
            lookout.acted()
        return self._said({"done": outcome.done, "sentence": outcome.sentence, "forcible": outcome.forcible})

    def _said(self, document: Mapping[str, Any], *, status: int = 200) -> Response:
        # ASCII: half of a surrogate pair may stand in what a job says.
        body = self._struck_out(json.dumps(document))
        return Response(body, status_code=status, media_type="application/json", headers=_FACTS_HEADERS)


_ACTIONS = ("requeue", "drop", "resend", "discard", "cancel")
_WHAT_AN_ACTION_IS = (
    'an action is {"action": "requeue", "drop", "resend", "discard" or "cancel", "id": "…", "force": true or false}'
)


async def _carried_out(asked: Mapping[str, Any], desk: Desk) -> Outcome:
    match asked["action"]:
        case "requeue":
            return await desk.requeue(asked["id"], force=asked["force"])
        case "drop":
            return await desk.drop(asked["id"])
        case "resend":
            return await desk.resend(asked["id"])
        case "discard":
            return await desk.discard(asked["id"])
        case _:
            return await desk.cancel(asked["id"])


async def _asked(request: Request) -> Mapping[str, Any] | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_ACTION:
            return None
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or asked.get("action") not in ("requeue", "drop", "resend", "discard", "cancel"):
        return None
    if (
        not isinstance(asked.get("id"), str)
        or not asked["id"]
        or not isinstance(asked.setdefault("force", False), bool)
    ):
        return None
    return asked


def _refused(refusal: Refusal) -> Response:
    return JSONResponse({"error": refusal.sentence}, status_code=refusal.status, headers=_FACTS_HEADERS)

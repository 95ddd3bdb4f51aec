"""The page at `/`: the studio's files, for this machine's browser."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'",
}


class Page:
    """Nothing of a job is in these files: the page asks for it with its user's token."""

    def routes(self) -> list[Route | Mount]:
        return [Route("/", self.page), Mount("/static", StaticFiles(directory=STATIC))]

    async def page(self, _request: Request) -> Response:
        return FileResponse(STATIC / "page.html", media_type="text/html", headers=PAGE_HEADERS)

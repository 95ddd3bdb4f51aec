"""The page at `/`: the studio's files, for this machine's browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
FILE_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
# Previews and pictures that are still being uploaded are shown out of the page's own memory.
POLICY = "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
PAGE_HEADERS = {**FILE_HEADERS, "Content-Security-Policy": POLICY}


class Page:
    """Nothing of a job is in these files: the page asks for it with its user's token."""

    def routes(self) -> list[Route | Mount]:
        return [Route("/", self.page), Mount("/static", Files(directory=STATIC))]

    async def page(self, _request: Request) -> Response:
        return FileResponse(STATIC / "studio.html", media_type="text/html", headers=PAGE_HEADERS)


class Files(StaticFiles):
    """Asked for anew with their tag each time, so that parts of two versions never meet in a browser."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(FILE_HEADERS)
        return response

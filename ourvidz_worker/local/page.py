"""The page at `/`: the jobs with their results, kept up to date by server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.storage_keys import thumbnail_key
from ourvidz_worker.local.changes import Changes
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.storage import SERVICE, ObjectStore
from ourvidz_worker.local.storage_errors import StorageError

STATIC = Path(__file__).parent / "static"
SHOWN = 200
SIGNED_FOR = 6 * 3600
HEARTBEAT = 15.0
NO_GUESSING = {"X-Content-Type-Options": "nosniff"}
PAGE_HEADERS = {**NO_GUESSING, "Cache-Control": "no-cache", "Content-Security-Policy": "default-src 'self'"}


class Page:
    """Reads what the service key may read, so it is for this machine's browser alone: no cross-origin access."""

    def __init__(self, database: Database, store: ObjectStore, catalogue: Catalogue, changes: Changes) -> None:
        self._database = database
        self._store = store
        self._catalogue = catalogue
        self._changes = changes

    def routes(self) -> list[Route | Mount]:
        return [
            Route("/", self.page),
            Route("/local/jobs", self.jobs),
            Route("/local/events", self.events),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    async def page(self, _request: Request) -> Response:
        return FileResponse(STATIC / "page.html", media_type="text/html", headers=PAGE_HEADERS)

    async def jobs(self, _request: Request) -> Response:
        """The newest jobs, each with signed addresses of its files."""
        rows = self._database.select("jobs", tail=f"ORDER BY created_at DESC LIMIT {SHOWN}")
        return JSONResponse([self.shown(row) for row in rows], headers=NO_GUESSING)

    async def events(self, _request: Request) -> Response:
        """An event `jobs` at once and whenever something changed; comments in between keep the line open."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(), media_type="text/event-stream", headers=headers)

    async def _events(self) -> AsyncIterator[str]:
        async for changed in self._changes.follow(HEARTBEAT):
            yield "event: jobs\ndata: changed\n\n" if changed else ": still here\n\n"

    def shown(self, job: Row) -> dict[str, Any]:
        metadata = job["metadata"] or {}
        job_type = self._catalogue.get(job["job_type"])
        return {
            "id": job["id"],
            "type": job["job_type"],
            "status": job["status"],
            "prompt": metadata.get("prompt") or "",
            "enhanced_prompt": metadata.get("enhanced_prompt"),
            "seconds": metadata.get("generation_time"),
            "error": job["error_message"],
            "created_at": job["created_at"],
            "completed_at": job["completed_at"],
            "images": metadata.get("num_images") or 1,
            "width": job_type.width if job_type else None,
            "height": job_type.height if job_type else None,
            "assets": self.assets(job),
        }

    def assets(self, job: Row) -> list[dict[str, Any]]:
        """The job's files that exist: bucket, key, size, type and a signed address, and one of its thumbnail."""
        metadata = job["metadata"] or {}
        workspace = self._database.select("workspace_assets", "job_id = ?", [job["id"]], tail="ORDER BY asset_index")
        told = metadata.get("all_assets")  # a producer may have put anything there
        keys = told if told and isinstance(told, list) else [row["temp_storage_path"] for row in workspace]
        found = (self._asset(metadata.get("bucket") or job["job_type"], str(key)) for key in keys)
        return [asset for asset in found if asset]

    def _asset(self, bucket: str, key: str) -> dict[str, Any] | None:
        try:
            row = self._store.find(SERVICE, bucket, key)
        except StorageError:
            return None
        return {
            "bucket": bucket,
            "key": key,
            "bytes": row["size"],
            "media_type": row["media_type"],
            "version": row["version"],
            "url": self._address(bucket, key),
            "thumbnail": self._address(bucket, thumbnail_key(key)),
        }

    def _address(self, bucket: str, key: str) -> str | None:
        """A signed address, or None where nothing lies under this key."""
        try:
            return f"/storage/v1{self._store.sign(SERVICE, bucket, key, SIGNED_FOR)}"
        except StorageError:
            return None

"""The small HTTP server of each process: health for schedulers, status for people, metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from aiohttp import web

from ourvidz_worker.control import Health
from ourvidz_worker.probes.exposition import Exposition

NO_STORE = {"Cache-Control": "no-store"}


class Subject(Protocol):
    """The process that is asked."""

    def health(self) -> Health: ...

    def as_json(self) -> Mapping[str, Any]:
        """What `/status` answers."""

    def measure(self) -> None:
        """Bring the gauges up to date."""

    def preview(self, job_id: str) -> bytes | None:
        """A small WEBP of the picture that is being drawn for a job, where there is one."""


class ProbeServer:
    """Serves from `start` to `stop`."""

    def __init__(self, subject: Subject, *, host: str, port: int, metrics: Exposition) -> None:
        self._subject = subject
        self._host = host
        self._port = port
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """A port that cannot be had costs nobody their jobs: the log says so, and the process goes on unprobed."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/health/live", self._live),
                web.get("/health/ready", self._ready),
                web.get("/status", self._status),
                web.get("/metrics", self._exposition),
                web.get("/previews/{job_id}", self._preview),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            structlog.get_logger().warning(
                "probes_not_served", host=self._host, port=self._port, problem=error.strerror or str(error)
            )
            return
        self._runner = runner
        structlog.get_logger().info("probes_served", host=self._host, port=self._port)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        health = self._subject.health()
        return _told(health, ok=health.live)

    async def _live(self, _request: web.Request) -> web.Response:
        health = self._subject.health()
        return _told(health, ok=health.live)

    async def _ready(self, _request: web.Request) -> web.Response:
        health = self._subject.health()
        return _told(health, ok=health.ready)

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._subject.as_json(), headers=NO_STORE)

    async def _exposition(self, _request: web.Request) -> web.Response:
        body, media_type = self._metrics()
        return web.Response(body=body, headers={"Content-Type": media_type, **NO_STORE})

    async def _preview(self, request: web.Request) -> web.Response:
        picture = self._subject.preview(request.match_info["job_id"])
        if picture is None:
            raise web.HTTPNotFound(text="no preview of this job")
        return web.Response(body=picture, content_type="image/webp", headers=NO_STORE)


def _told(health: Health, *, ok: bool) -> web.Response:
    body = {"state": health.state.value, "reason": health.reason}
    return web.json_response(body, status=200 if ok else 503, headers=NO_STORE)

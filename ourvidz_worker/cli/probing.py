"""The probes of a process, from its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ourvidz_worker.probes.server import ProbeServer, Subject
from ourvidz_worker.settings import PROBE_PORTS, QwenSettings


def probe_port(name: str, settings: QwenSettings) -> int:
    """Where a process answers; 0 means nowhere."""
    return PROBE_PORTS[name] if settings.probe_port is None else settings.probe_port


@asynccontextmanager
async def probed(name: str, settings: QwenSettings, subject: Subject) -> AsyncIterator[None]:
    """Answer until the end of the block."""
    port = probe_port(name, settings)
    if not port:
        yield
        return
    server = ProbeServer(subject, host=settings.probe_host, port=port, metrics=_exposition)
    await server.start()
    try:
        yield
    finally:
        await server.stop()


def _exposition() -> tuple[bytes, str]:
    return generate_latest(), CONTENT_TYPE_LATEST

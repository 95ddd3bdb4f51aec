"""The probes of a process, from its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ourvidz_worker.probes.exposition import exposition
from ourvidz_worker.probes.server import ProbeServer, Subject
from ourvidz_worker.settings import PROBE_PORTS, QwenSettings
from ourvidz_worker.supervisor.watch import Limits


def probe_port(name: str, settings: QwenSettings) -> int:
    """Where a process answers; 0 means nowhere."""
    return PROBE_PORTS[name] if settings.probe_port is None else settings.probe_port


def limits_of(settings: QwenSettings) -> Limits:
    """From when on a worker hangs."""
    return Limits(silence=settings.silence_limit, step=settings.step_limit, load=settings.load_limit)


@asynccontextmanager
async def probed(name: str, settings: QwenSettings, subject: Subject) -> AsyncIterator[None]:
    """Answer until the end of the block."""
    port = probe_port(name, settings)
    if not port:
        yield
        return
    metrics = exposition(name, subject.measure)
    server = ProbeServer(subject, host=settings.probe_host, port=port, metrics=metrics)
    await server.start()
    try:
        yield
    finally:
        await server.stop()

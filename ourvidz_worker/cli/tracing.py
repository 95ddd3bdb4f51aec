"""The traces of a process, from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from ourvidz_worker.instruments import tracing
from ourvidz_worker.settings import QwenSettings

FLUSH_SECONDS = 3.0
"""How long the end of a process may wait for a collector."""


@asynccontextmanager
async def traced(worker: str, settings: QwenSettings) -> AsyncIterator[None]:
    """Trace jobs until the end of the block, where an endpoint is set; what keeps that from working costs no job."""
    if not settings.traced:
        yield
        return
    from ourvidz_worker.probes.otlp import OtlpTracer  # noqa: PLC0415 - the SDK, only where it is wanted

    try:
        tracer = OtlpTracer(worker)
    except ValueError as error:  # one of the SDK's own variables
        structlog.get_logger().warning("traces_not_begun", problem=str(error))
        yield
        return
    tracing.install(tracer)
    try:
        yield
    finally:
        tracing.install(None)
        await asyncio.to_thread(tracer.close, FLUSH_SECONDS)

"""Traces to an OpenTelemetry collector over HTTP: in batches, from a thread of their own, and never in the way.

The SDK reads its own variables (`OTEL_EXPORTER_OTLP_*`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`
…). Import this module only where traces are wanted: the SDK takes a while.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from ourvidz_worker import __version__
from ourvidz_worker.instruments.tracing import JOB_SPAN, Attributes, Span

SERVICE = "ourvidz_worker"
_KINDS = {JOB_SPAN: SpanKind.CONSUMER, "upload": SpanKind.CLIENT, "callback": SpanKind.CLIENT}
_LIBRARY = "opentelemetry"
_LAST_SECONDS = 0.5
_CURE = "see that OTEL_EXPORTER_OTLP_ENDPOINT names a collector that takes OTLP over HTTP, mostly on port 4318"


class OtlpSpan:
    """A `Span` of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self.span = span

    @property
    def trace_id(self) -> str:
        return f"{self.span.get_span_context().trace_id:032x}"

    @property
    def traceparent(self) -> str:
        context = self.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def note(self, attributes: Attributes) -> None:
        for name, value in attributes.items():
            self.span.set_attribute(name, value)  # type: ignore[arg-type]  # texts and numbers

    def fail(self, kind: str) -> None:
        self.span.add_event("exception", {"exception.type": kind})
        self.span.set_status(Status(StatusCode.ERROR, kind))

    def end(self, at: float) -> None:
        if self.span.is_recording():
            self.span.end(_nanoseconds(at))


class OtlpTracer:
    """A `Tracer`; `worker` is the name of this process among those of its pod. Raises `ValueError` for a variable."""

    def __init__(self, worker: str) -> None:
        self._troubles = _Troubles()
        self._exporter = _Announced(OTLPSpanExporter(), self._troubles)
        self._provider = TracerProvider(resource=_resource(worker), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)
        library = logging.getLogger(_LIBRARY)
        library.addHandler(self._troubles)
        library.propagate = False

    def begin(self, name: str, *, at: float, parent: Span | None, traceparent: str | None = None) -> OtlpSpan:
        span = self._tracer.start_span(
            name,
            context=_context(parent, traceparent),
            kind=_KINDS.get(name, SpanKind.INTERNAL),
            start_time=_nanoseconds(at),
        )
        return OtlpSpan(span)

    def close(self, seconds: float) -> None:
        """Send what is left, for so many seconds at most. Blocks."""
        sending = threading.Thread(target=self._provider.shutdown, name="traces-sent", daemon=True)
        sending.start()
        sending.join(seconds)
        if sending.is_alive():
            self._exporter.shutdown()  # or its repeats would go on
            sending.join(_LAST_SECONDS)
        library = logging.getLogger(_LIBRARY)
        library.removeHandler(self._troubles)
        library.propagate = True


class _Troubles(logging.Handler):
    """Of all that the SDK has to say about a collector out of reach, the first line; the rest is more of the same."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told = False
        self._log = structlog.get_logger().bind(**structlog.contextvars.get_contextvars())

    def emit(self, record: logging.LogRecord) -> None:
        if not self._told:
            self._told = True
            self._log.warning("traces_not_sent", problem=record.getMessage(), cure=_CURE)

    def over(self) -> None:
        if self._told:
            self._told = False
            self._log.info("traces_sent_again")


class _Announced(SpanExporter):
    """The exporter, whose successes end a trouble."""

    def __init__(self, exporter: SpanExporter, troubles: _Troubles) -> None:
        self._exporter = exporter
        self._troubles = troubles
        self._closed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._troubles.over()
        return result

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()


def _resource(worker: str) -> Resource:
    """An operator's own names go before ours."""
    environment = os.environ
    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    about: dict[str, Any] = {"service.version": __version__, "ourvidz.worker": worker}
    return Resource.create(about if named else {"service.name": SERVICE, **about})


def _context(parent: Span | None, traceparent: str | None) -> Context:
    """Only what is given counts, never what the SDK takes for current."""
    if isinstance(parent, OtlpSpan):
        return trace.set_span_in_context(parent.span, Context())
    if traceparent is None:
        return Context()
    _, trace_id, span_id, flags = traceparent.split("-")
    remote = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(remote), Context())


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)

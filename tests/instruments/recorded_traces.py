"""A tracer that keeps what it is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ourvidz_worker.instruments import tracing
from ourvidz_worker.instruments.tracing import Attributes, Span


@dataclass(eq=False)
class KeptSpan:
    name: str
    number: int
    trace_id: str
    begun: float
    parent: KeptSpan | None
    traceparent_before: str | None
    attributes: Attributes = field(default_factory=Attributes)
    failures: list[str] = field(default_factory=list)
    ended: float | None = None

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.number:016x}-01"

    def note(self, attributes: Attributes) -> None:
        self.attributes.update(attributes)

    def fail(self, kind: str) -> None:
        self.failures.append(kind)

    def end(self, at: float) -> None:
        self.ended = self.ended or at


class KeptTraces:
    """A `Tracer`. Spans in the order in which they began to be told."""

    def __init__(self) -> None:
        self.spans: list[KeptSpan] = []
        self._numbers = itertools.count(1)

    def begin(self, name: str, *, at: float, parent: Span | None, traceparent: str | None = None) -> KeptSpan:
        assert parent is None or isinstance(parent, KeptSpan)
        number = next(self._numbers)
        trace_id = parent.trace_id if parent else traceparent.split("-")[1] if traceparent else f"{number:032x}"
        span = KeptSpan(name, number, trace_id, at, parent, traceparent)
        self.spans.append(span)
        return span

    def named(self, name: str) -> list[KeptSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> KeptSpan:
        (span,) = self.named(name)
        return span


@contextmanager
def kept_traces() -> Iterator[KeptTraces]:
    """Traces are kept until the end of the block."""
    traces = KeptTraces()
    tracing.install(traces)
    try:
        yield traces
    finally:
        tracing.install(None)

"""One trace per attempt at a job, where a tracer is installed; without one, nothing happens here.

A trace says which job, of what type, and what became of each part of its way. Prompts, users, addresses and the
sentences of errors, which may repeat such things, are not in it: the log has those sentences, under the same
`trace_id`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Protocol, TypedDict

import structlog

from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import WorkerError

JOB_SPAN = "job"


class Attributes(TypedDict, total=False):
    """All that a span may say."""

    job_id: str
    job_type: str
    queue: str
    attempt: int
    num_images: int
    num_inference_steps: int
    outcome: str
    error_type: str


class Span(Protocol):
    """A part of a trace. `traceparent` is what W3C Trace Context sends on; an end after the first does nothing."""

    @property
    def trace_id(self) -> str: ...

    @property
    def traceparent(self) -> str: ...

    def note(self, attributes: Attributes) -> None: ...

    def fail(self, kind: str) -> None:
        """It ended with an error of this class."""

    def end(self, at: float) -> None: ...


class Tracer(Protocol):
    def begin(self, name: str, *, at: float, parent: Span | None, traceparent: str | None = None) -> Span:
        """A span that began `at` so many seconds of `time.time`; never blocks, never raises.

        `traceparent` names a parent in another process.
        """


@dataclass(slots=True)
class _Installed:
    tracer: Tracer | None = None


_installed = _Installed()
_job: ContextVar[Span | None] = ContextVar("job_span", default=None)
_current: ContextVar[Span | None] = ContextVar("current_span", default=None)


def install(tracer: Tracer | None) -> None:
    """Trace jobs with this from now on; None traces no more."""
    _installed.tracer = tracer


def begin_job(job: Job, queue: str, *, seconds_ago: float) -> None:
    """Begin the trace of a job that this task and those that it starts work on; its claim began so long ago."""
    tracer = _installed.tracer
    if tracer is None:
        return
    span = tracer.begin(JOB_SPAN, at=time.time() - seconds_ago, parent=None, traceparent=job.traceparent)
    span.note(
        Attributes(
            job_id=job.id,
            job_type=job.type.name,
            queue=queue,
            attempt=job.attempt,
            num_images=job.num_images,
            num_inference_steps=job.num_inference_steps,
        )
    )
    _job.set(span)
    _current.set(span)
    structlog.contextvars.bind_contextvars(trace_id=span.trace_id)


def job_outcome(outcome: str, error_type: str | None) -> None:
    """What became of the job of this task."""
    span = _job.get()
    if span is None:
        return
    span.note(Attributes(outcome=outcome))
    if error_type is not None:
        span.note(Attributes(error_type=error_type))
        span.fail(error_type)


def end_job(error: BaseException | None = None) -> None:
    """Nobody works on the job of this task any more; `error` is what kept it from an outcome."""
    span = _job.get()
    if span is None:
        return
    if error is not None:
        _fail(span, error)
    span.end(time.time())


@dataclass(frozen=True, slots=True)
class Open:
    """A span that is the current one until it is closed."""

    span: Span
    token: Token[Span | None]


def open_span(name: str, attributes: Attributes) -> Open | None:
    """Begin a part of the current trace, which is the parent of what happens until `close_span`; None without one."""
    parent, tracer = _current.get(), _installed.tracer
    if parent is None or tracer is None:
        return None
    child = tracer.begin(name, at=time.time(), parent=parent)
    child.note(attributes)
    return Open(child, _current.set(child))


def close_span(opened: Open, error: BaseException | None) -> None:
    """In the task that opened it."""
    if error is not None:
        _fail(opened.span, error)
    _current.reset(opened.token)
    opened.span.end(time.time())


def record(name: str, *, seconds_ago: float, seconds: float, error: BaseException | None = None) -> None:
    """A part of the current trace that is over."""
    parent, tracer = _current.get(), _installed.tracer
    if parent is None or tracer is None:
        return
    begun = time.time() - seconds_ago
    child = tracer.begin(name, at=begun, parent=parent)
    if error is not None:
        _fail(child, error)
    child.end(begun + seconds)


def headers() -> Mapping[str, str]:
    """What carries the current trace on with a request to the product."""
    current = _current.get()
    return {} if current is None else {"traceparent": current.traceparent}


def _fail(span: Span, error: BaseException) -> None:
    if isinstance(error, WorkerError):
        span.note(Attributes(error_type=error.error_type))
    span.fail(type(error).__name__)

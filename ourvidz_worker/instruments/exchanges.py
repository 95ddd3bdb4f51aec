"""What is counted of each exchange with Redis, the store and the product, in whichever adapter it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ourvidz_worker.errors import BackendRefused, ConfigurationError, QuotaExceeded, Retry
from ourvidz_worker.instruments import metrics
from ourvidz_worker.instruments.stages import stage

OK = "ok"


@contextmanager
def redis_command(name: str) -> Iterator[None]:
    """The block sends this command, and raises what is to be made of its failure."""
    try:
        yield
    except BaseException as error:
        metrics.series(metrics.REDIS_COMMANDS, name, outcome_of(error)).inc()
        raise
    metrics.series(metrics.REDIS_COMMANDS, name, OK).inc()


@contextmanager
def claim(queue: str) -> Iterator[None]:
    """The block claims, and fails or does not; whether it got a job is told by `claimed`."""
    try:
        yield
    except BaseException as error:
        metrics.series(metrics.CLAIMS, queue, outcome_of(error)).inc()
        raise


def claimed(queue: str, *, job: bool) -> None:
    metrics.series(metrics.CLAIMS, queue, "job" if job else "empty").inc()


@contextmanager
def upload(media_type: str, size: int) -> Iterator[None]:
    """The block stores a file of so many bytes."""
    try:
        yield
    except BaseException as error:
        metrics.series(metrics.UPLOADS, media_type, outcome_of(error)).inc()
        raise
    metrics.series(metrics.UPLOADS, media_type, OK).inc()
    metrics.series(metrics.UPLOADED_BYTES, media_type).inc(size)


@contextmanager
def callback(status: str) -> Iterator[None]:
    """The block reports this status of a job to the product."""
    try:
        with stage("callback", outcome=status):
            yield
    except BaseException as error:
        metrics.series(metrics.CALLBACKS, status, outcome_of(error)).inc()
        raise
    metrics.series(metrics.CALLBACKS, status, OK).inc()


def retried(operation: str) -> None:
    """What failed in a way that is worth it is about to be tried again."""
    metrics.series(metrics.RETRIES, operation).inc()


def language_answer(endpoint: str, status: int, seconds: float) -> None:
    """A request to the language worker was answered with this HTTP status, or a stream begun."""
    metrics.series(metrics.LANGUAGE_REQUESTS, endpoint, str(status)).inc()
    metrics.series(metrics.LANGUAGE_SECONDS, endpoint).observe(seconds)


def outcome_of(error: BaseException) -> str:
    """A failed exchange in one word."""
    match error:
        case QuotaExceeded():
            return "quota"
        case Retry() | TimeoutError():
            return "unavailable"
        case BackendRefused() | ConfigurationError():
            return "refused"
        case asyncio.CancelledError():
            return "cancelled"
    return "error"

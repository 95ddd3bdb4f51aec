"""The parts of a job's way, each timed once for the metrics and for the job's trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Unpack, get_args

from ourvidz_worker.instruments import tracing
from ourvidz_worker.instruments.metrics import OTHER, STAGE_SECONDS

Stage = Literal[
    "claim", "references", "enhance", "prepare", "wait", "generate", "encode", "upload", "callback", "acknowledge"
]
"""`prepare` reads the prompt ahead of the card, and `wait` is for the card."""

STAGES: tuple[Stage, ...] = get_args(Stage)

_job_type: ContextVar[str] = ContextVar("job_type", default=OTHER)


def work_on(job_type: str) -> None:
    """What this task and those that it starts do from now on is for a job of this type."""
    _job_type.set(job_type)


@contextmanager
def stage(name: Stage, **attributes: Unpack[tracing.Attributes]) -> Iterator[None]:
    """The block is this stage of the job that this task works on."""
    begun = time.perf_counter()
    try:
        with tracing.span(name, **attributes):
            yield
    finally:
        _observe(name, time.perf_counter() - begun)


def passed(name: Stage, seconds: float, *, seconds_ago: float, error: BaseException | None = None) -> None:
    """A stage that began `seconds_ago` and took `seconds`."""
    tracing.record(name, seconds_ago=seconds_ago, seconds=seconds, error=error)
    _observe(name, seconds)


def _observe(name: Stage, seconds: float) -> None:
    STAGE_SECONDS.labels(name, _job_type.get()).observe(seconds)

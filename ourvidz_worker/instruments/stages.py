"""The parts of a job's way, each timed once for the metrics and for the job's trace."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Literal, Unpack, get_args

from ourvidz_worker.instruments import tracing
from ourvidz_worker.instruments.metrics import OTHER, STAGE_SECONDS, series

Stage = Literal[
    "claim", "references", "enhance", "prepare", "wait", "generate", "encode", "upload", "callback", "acknowledge"
]
"""`prepare` reads the prompt ahead of the card, and `wait` is for the card."""

STAGES: tuple[Stage, ...] = get_args(Stage)

_job_type: ContextVar[str] = ContextVar("job_type", default=OTHER)


def work_on(job_type: str) -> None:
    """What this task and those that it starts do from now on is for a job of this type."""
    _job_type.set(job_type)


class stage:  # noqa: N801 - used like a function; a generator in its place would cost each job several times as much
    """`with stage(name):` the block is this stage of the job that this task works on."""

    __slots__ = ("_attributes", "_begun", "_name", "_open")

    def __init__(self, name: Stage, **attributes: Unpack[tracing.Attributes]) -> None:
        self._name = name
        self._attributes = attributes

    def __enter__(self) -> None:
        self._open = tracing.open_span(self._name, self._attributes)
        self._begun = time.perf_counter()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        _observe(self._name, time.perf_counter() - self._begun)
        if self._open is not None:
            tracing.close_span(self._open, error)


def passed(name: Stage, seconds: float, *, seconds_ago: float, error: BaseException | None = None) -> None:
    """A stage that began `seconds_ago` and took `seconds`."""
    tracing.record(name, seconds_ago=seconds_ago, seconds=seconds, error=error)
    _observe(name, seconds)


def _observe(name: Stage, seconds: float) -> None:
    series(STAGE_SECONDS, name, _job_type.get()).observe(seconds)

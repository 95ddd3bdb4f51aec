"""The metrics of this process in Prometheus' text format."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import lru_cache, partial

from prometheus_client import CONTENT_TYPE_LATEST, GCCollector, PlatformCollector, ProcessCollector, generate_latest

from ourvidz_worker import __version__
from ourvidz_worker.instruments.metrics import BUILD, REGISTRY

Exposition = Callable[[], tuple[bytes, str]]
"""Renders the metrics, and names their media type."""


def exposition(process: str, measure: Callable[[], None]) -> Exposition:
    """`process` is what this one is called; `measure` brings the gauges up to date before each look."""
    _add_collectors()
    BUILD.labels(process, __version__, platform.python_version()).set(1)
    return partial(_rendered, measure)


def _rendered(measure: Callable[[], None]) -> tuple[bytes, str]:
    measure()
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


@lru_cache(maxsize=1)
def _add_collectors() -> None:
    """Memory, processor time, open files and threads of the process, under the names that every exporter has."""
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=REGISTRY)

"""What every daemon does first: its settings, and its log."""

from __future__ import annotations

import os
from typing import TypeVar

import structlog

from ourvidz_worker.control import CONTROL_FD_VARIABLE
from ourvidz_worker.log import configure_logging, log_crashes
from ourvidz_worker.settings import QwenSettings, read_settings

DaemonSettings = TypeVar("DaemonSettings", bound=QwenSettings)

SMALL = "OURVIDZ_MODELS=demo: these models know a small world of things and are for showing, not for a product's users"


def start_daemon(name: str, kind: type[DaemonSettings]) -> DaemonSettings:
    """Read the environment and set up the log under this name; raises `ConfigurationError`."""
    settings = read_settings(kind)
    configure_logging(level=settings.log_level, log_format=settings.log_format, secrets=settings.secrets)
    log_crashes()
    structlog.contextvars.bind_contextvars(worker=name)
    if settings.models == "demo" and CONTROL_FD_VARIABLE not in os.environ:  # else the orchestrator has said it
        structlog.get_logger().warning("small_models", reason=SMALL)
    return settings

"""What every daemon does first: its settings, and its log."""

from __future__ import annotations

from typing import TypeVar

import structlog

from ourvidz_worker.log import configure_logging, log_crashes
from ourvidz_worker.settings import QwenSettings, read_settings

DaemonSettings = TypeVar("DaemonSettings", bound=QwenSettings)


def start_daemon(name: str, kind: type[DaemonSettings]) -> DaemonSettings:
    """Read the environment and set up the log under this name; raises `ConfigurationError`."""
    settings = read_settings(kind)
    configure_logging(level=settings.log_level, log_format=settings.log_format, secrets=settings.secrets)
    log_crashes()
    structlog.contextvars.bind_contextvars(worker=name)
    return settings

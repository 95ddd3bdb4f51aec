"""Structured log lines: JSON for machines, columns on a terminal, secrets struck out everywhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

STRUCK_OUT = "[secret]"


def configure_logging(
    *,
    level: str = "info",
    log_format: Literal["auto", "json", "console"] = "auto",
    secrets: Sequence[str] = (),
) -> None:
    """Set up structlog for this process; lines go to standard error."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=not console),
            *rendering,
            _StrikeOut(secrets),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Other people's libraries log request lines with addresses; only their warnings are of use here.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


class _StrikeOut:
    """The last processor: whatever an exception or a library put into a line, no secret leaves in it."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __call__(self, logger: WrappedLogger, method: str, line: str | bytes | EventDict) -> Any:
        if isinstance(line, str):
            for secret in self._secrets:
                line = line.replace(secret, STRUCK_OUT)
        return line

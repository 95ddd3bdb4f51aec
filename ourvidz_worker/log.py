"""Structured log lines: JSON for machines, columns on a terminal, secrets struck out everywhere."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
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
        # The default formatter shows local variables, and breaks what is to be struck out over lines.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
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
        # One write per line, so that the lines of several processes on one stream stay apart.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Other people's libraries log request lines with addresses; only their warnings are of use here.
    logging.basicConfig(level=logging.WARNING, handlers=[_Library()], force=True)


def log_crashes() -> None:
    """Make log lines of what Python would print by itself, secrets and all: uncaught exceptions and warnings."""
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda crash: _log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)
    sys.unraisablehook = lambda crash: _log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)


def _log_crash(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    structlog.get_logger().critical("crashed", exc_info=(kind, error or kind(), traceback))


def _spellings(secret: str) -> tuple[str, ...]:
    """As it is, and as JSON and the console's `repr` write it inside quotes."""
    return secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]


class _Library(logging.Handler):
    """Lets what other people's libraries log leave as lines of ours, secrets struck out there too."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - as every handler of the standard library answers a wrong format
            self.handleError(record)
            return
        structlog.get_logger().log(record.levelno, "library", logger=record.name, text=text, exc_info=record.exc_info)


class _StrikeOut:
    """The last processor: whatever an exception or a library put into a line, no secret leaves in it."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = sorted(
            {form for secret in secrets if secret for form in _spellings(secret)}, key=len, reverse=True
        )

    def __call__(self, _logger: WrappedLogger, _method: str, line: str | bytes | EventDict) -> Any:
        if isinstance(line, str):
            for secret in self._secrets:
                line = line.replace(secret, STRUCK_OUT)
        return line

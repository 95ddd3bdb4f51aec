"""A worker process from its first signal to its exit code, alone or under the orchestrator."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from ourvidz_worker.control import CONTROL_FD_VARIABLE, NAME_VARIABLE, ExitCode, WorkerKind
from ourvidz_worker.errors import ConfigurationError, Fenced, PoisonedContext
from ourvidz_worker.runtime.certain_end import end_within, signal_when_parent_ends
from ourvidz_worker.runtime.control_channel import ControlChannel

LAST_SECONDS = 15.0
"""How long a process that has no reason to live may take to end: orphaned, fenced, or done with its work."""


class Stop(Protocol):
    def __call__(self, *, at_once: bool = False) -> None: ...


def inherited_channel() -> ControlChannel | None:
    """The line to the orchestrator that started this process, if one did."""
    descriptor = os.environ.get(CONTROL_FD_VARIABLE)
    if not descriptor:
        return None
    # Until the worker listens to it, this signal ends the process, which holds nothing yet.
    signal_when_parent_ends(signal.SIGTERM)
    return ControlChannel(int(descriptor))


def name_of(kind: WorkerKind) -> str:
    """What this worker is called in its pod; one that runs alone is called by its kind."""
    return os.environ.get(NAME_VARIABLE) or kind


def run_to_the_end(serve: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """End this process with what `serve` returns."""
    code = asyncio.run(serve())
    # Not sys.exit: a model that is still loading, or a step that never ends, would hold the process here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def exit_code_of(work: Coroutine[Any, Any, None]) -> int:
    """How a worker's work ended, logged and as its supervisor understands it."""
    log = structlog.get_logger()
    try:
        await work
    except ConfigurationError as error:
        complain("configuration_wrong", *error.problems)
        return ExitCode.CONFIGURATION
    except PoisonedContext as error:
        complain("cuda_context_poisoned", str(error))
        return ExitCode.POISONED_CONTEXT
    except Fenced as error:
        complain("worker_fenced", str(error))
        return ExitCode.FENCED
    except Exception:
        log.exception("worker_crashed")
        return ExitCode.INTERNAL
    log.info("worker_stopped")
    return ExitCode.OK


def end_soon(exit_code: int) -> None:
    """Whatever still runs, this process is gone after its last seconds."""
    end_within(LAST_SECONDS, exit_code)


def complain(event: str, *problems: str) -> None:
    structlog.get_logger().error(event, problems=problems)


def obey_signals(stop: Stop, channel: ControlChannel | None) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    if channel is None:
        loop.add_signal_handler(signal.SIGINT, stop)
        return
    # Ctrl-C reaches the whole process group; under a supervisor only its word counts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    context = contextvars.copy_context()  # with the names that each log line carries

    def give_up() -> None:
        structlog.get_logger().error("supervisor_gone")
        stop(at_once=True)

    def supervisor_gone() -> None:
        end_soon(ExitCode.INTERNAL)
        with contextlib.suppress(RuntimeError):  # the loop ended by itself just now
            loop.call_soon_threadsafe(give_up, context=context)

    channel.when_gone(supervisor_gone)

"""`sdxl` and `wan`: one worker process, alone or under the orchestrator."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import contextvars
import os
import signal
import sys

import structlog

from ourvidz_worker.backend.upstash.keys import new_owner
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.cli.wiring import BuiltWorker, build_worker
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.control import CONTROL_FD_VARIABLE, OWNER_VARIABLE, Announcer, ExitCode, Message
from ourvidz_worker.errors import ConfigurationError, Fenced, PoisonedContext
from ourvidz_worker.runtime.certain_end import end_within, signal_when_parent_ends
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.runtime.heartbeat import beat
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.runtime.worker import Worker
from ourvidz_worker.settings import Settings

LAST_SECONDS = 15.0
"""How long a process that has no reason to live may take to end: orphaned, fenced, or done with its work."""


def run(arguments: argparse.Namespace) -> int:
    descriptor = os.environ.get(CONTROL_FD_VARIABLE)
    channel = ControlChannel(int(descriptor)) if descriptor else None
    if channel is not None:
        # Until the worker listens to it, this signal ends the process, which holds nothing yet.
        signal_when_parent_ends(signal.SIGTERM)
    code = asyncio.run(_serve(arguments.family, start_daemon(arguments.family), channel))
    # Not sys.exit: a model that is still loading, or a step that never ends, would hold the process here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Voice:
    """An announcer that also sees to it that a fenced process ends, even under a step that never does."""

    def __init__(self, listener: Announcer) -> None:
        self._listener = listener

    def announce(self, message: Message) -> None:
        if message.kind == "fenced":
            end_within(LAST_SECONDS, ExitCode.FENCED)
        self._listener.announce(message)


async def _serve(family: ModelFamily, settings: Settings, channel: ControlChannel | None) -> int:
    voice = _Voice(channel or Silent())
    owner = os.environ.get(OWNER_VARIABLE) or new_owner()
    structlog.contextvars.bind_contextvars(owner=owner)
    try:
        built = build_worker(family, settings, owner=owner, announcer=voice)
    except ConfigurationError as error:
        _complain("configuration_wrong", *error.problems)
        return ExitCode.CONFIGURATION
    _obey_signals(built.worker, channel)
    beating = asyncio.create_task(beat(voice, silence_limit=settings.silence_limit))
    try:
        code = await _run(built)
        end_within(LAST_SECONDS, code)
    finally:
        await built.close()
        beating.cancel()
    return code


async def _run(built: BuiltWorker) -> int:
    log = structlog.get_logger()
    built.courier.resume()
    try:
        await built.worker.run()
    except ConfigurationError as error:
        _complain("configuration_wrong", *error.problems)
        return ExitCode.CONFIGURATION
    except PoisonedContext as error:
        _complain("cuda_context_poisoned", str(error))
        return ExitCode.POISONED_CONTEXT
    except Fenced as error:
        _complain("worker_fenced", str(error))
        return ExitCode.FENCED
    except Exception:
        log.exception("worker_crashed")
        return ExitCode.INTERNAL
    log.info("worker_stopped")
    return ExitCode.OK


def _complain(event: str, *problems: str) -> None:
    structlog.get_logger().error(event, problems=problems)


def _obey_signals(worker: Worker, channel: ControlChannel | None) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.stop)
    if channel is None:
        loop.add_signal_handler(signal.SIGINT, worker.stop)
        return
    # Ctrl-C reaches the whole process group; under a supervisor only its word counts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    context = contextvars.copy_context()  # with the names that each log line carries

    def give_up() -> None:
        structlog.get_logger().error("supervisor_gone")
        worker.stop(at_once=True)

    def supervisor_gone() -> None:
        end_within(LAST_SECONDS, ExitCode.INTERNAL)
        with contextlib.suppress(RuntimeError):  # the loop ended by itself just now
            loop.call_soon_threadsafe(give_up, context=context)

    channel.when_gone(supervisor_gone)

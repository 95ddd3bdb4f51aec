"""`sdxl` and `wan`: one worker process, alone or under the orchestrator."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

import structlog

from ourvidz_worker.backend.keys import new_owner
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.cli.wiring import BuiltWorker, build_worker
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.control import CONTROL_FD_VARIABLE, OWNER_VARIABLE, ExitCode
from ourvidz_worker.errors import ConfigurationError, Fenced, PoisonedContext
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.runtime.worker import Worker
from ourvidz_worker.settings import Settings


def run(arguments: argparse.Namespace) -> int:
    code = asyncio.run(_serve(arguments.family, start_daemon(arguments.family)))
    # Not sys.exit: a model that is still loading, or a step that never ends, would hold the process here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(family: ModelFamily, settings: Settings) -> int:
    descriptor = os.environ.get(CONTROL_FD_VARIABLE)
    channel = ControlChannel(int(descriptor)) if descriptor else None
    try:
        built = build_worker(
            family, settings, owner=os.environ.get(OWNER_VARIABLE) or new_owner(), announcer=channel or Silent()
        )
    except ConfigurationError as error:
        _complain("configuration_wrong", *error.problems)
        return ExitCode.CONFIGURATION
    _obey_signals(built.worker, channel)
    try:
        return await _run(built)
    finally:
        await built.close()


async def _run(built: BuiltWorker) -> int:
    log = structlog.get_logger()
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

    def supervisor_gone() -> None:
        loop.remove_reader(channel.socket)
        worker.stop()

    loop.add_reader(channel.socket, supervisor_gone)

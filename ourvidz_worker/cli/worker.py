"""`sdxl` and `wan`: one worker process, alone or under the orchestrator."""

from __future__ import annotations

import argparse
import asyncio
import os
from functools import partial

import structlog

from ourvidz_worker.backend.queue.keys import new_owner
from ourvidz_worker.cli.probing import limits_of, probed
from ourvidz_worker.cli.process import (
    complain,
    end_soon,
    exit_code_of,
    inherited_channel,
    name_of,
    obey_signals,
    run_to_the_end,
)
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.cli.tracing import traced
from ourvidz_worker.cli.wiring import build_worker
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.control import OWNER_VARIABLE, Announcer, ExitCode, Message
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.probes.own_view import OwnView
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.runtime.heartbeat import beat
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.settings import Settings


def run(arguments: argparse.Namespace) -> int:
    channel = inherited_channel()
    settings = start_daemon(name_of(arguments.family), Settings)
    return run_to_the_end(partial(_serve, arguments.family, settings, channel))


class _Voice:
    """An announcer that also sees to it that a fenced process ends, even under a step that never does."""

    def __init__(self, listener: Announcer) -> None:
        self._listener = listener

    def announce(self, message: Message) -> None:
        if message.kind == "fenced":
            end_soon(ExitCode.FENCED)
        self._listener.announce(message)


async def _serve(family: ModelFamily, settings: Settings, channel: ControlChannel | None) -> int:
    view = OwnView(name_of(family), channel or Silent(), kind=family)
    voice = _Voice(view)
    owner = os.environ.get(OWNER_VARIABLE) or new_owner()
    structlog.contextvars.bind_contextvars(owner=owner)
    try:
        built = build_worker(family, settings, owner=owner, announcer=voice, channel=channel)
    except ConfigurationError as error:
        complain("configuration_wrong", *error.problems)
        return ExitCode.CONFIGURATION
    obey_signals(built.worker.stop, channel)
    background = [asyncio.create_task(beat(voice, silence_limit=settings.silence_limit))]
    if channel is None:
        background.append(asyncio.create_task(view.watch(limits_of(settings))))
    try:
        async with probed(family, settings, view), traced(name_of(family), settings):
            built.courier.resume()
            code = await exit_code_of(built.worker.run())
            end_soon(code)
    finally:
        await built.close()
        for task in background:
            task.cancel()
    return code

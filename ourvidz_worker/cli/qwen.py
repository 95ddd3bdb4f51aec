"""`qwen`: the language worker, prompts rewritten and scripts divided over HTTP, alone or under the orchestrator."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from functools import partial

import structlog
from starlette.types import ASGIApp

from ourvidz_worker.cli.card import build_residency
from ourvidz_worker.cli.language import build_prompt_service
from ourvidz_worker.cli.probing import probed
from ourvidz_worker.cli.process import (
    complain,
    end_soon,
    exit_code_of,
    inherited_channel,
    obey_signals,
    run_to_the_end,
)
from ourvidz_worker.cli.registering import ReadyListener, registered
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.cli.wiring import read_configuration
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.control import Announcer, ExitCode
from ourvidz_worker.enhancer.app import build_app
from ourvidz_worker.enhancer.doorkeeper import Doorkeeper
from ourvidz_worker.enhancer.worker import LanguageWorker
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.local.server import LocalServer, PortTaken
from ourvidz_worker.probes.own_view import OwnView
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.runtime.heartbeat import beat
from ourvidz_worker.runtime.language.service import PromptService
from ourvidz_worker.runtime.progress import Silent
from ourvidz_worker.settings import QwenSettings, qwen_settings


def run(_arguments: argparse.Namespace) -> int:
    channel = inherited_channel()
    settings = start_daemon("qwen", qwen_settings())
    return run_to_the_end(partial(_serve, settings, settings.known_token(), channel))


async def _serve(settings: QwenSettings, token: str, channel: ControlChannel | None) -> int:
    view = OwnView("qwen", channel or Silent())
    voice = ReadyListener(view)
    try:
        built = _build(settings, token, voice, channel)
    except ConfigurationError as error:
        complain("configuration_wrong", *error.problems)
        return ExitCode.CONFIGURATION
    obey_signals(built.worker.stop, channel)
    beating = asyncio.create_task(beat(voice, silence_limit=settings.silence_limit))
    structlog.get_logger().info("qwen_listening", address=settings.qwen_place)
    try:
        async with probed("qwen", settings, view), registered(settings, voice.ready):
            code = await exit_code_of(built.worker.run(built.server, built.doors))
            end_soon(code)
    finally:
        await built.service.close()
        beating.cancel()
    return code


@dataclass(frozen=True, slots=True)
class _Built:
    service: PromptService
    worker: LanguageWorker
    doors: Doorkeeper
    server: LocalServer


def _build(settings: QwenSettings, token: str, announcer: Announcer, channel: ControlChannel | None) -> _Built:
    """Raises `ConfigurationError`."""
    configuration = read_configuration(ConfigFiles(settings.config_dir))
    service = build_prompt_service(
        settings,
        models=configuration.models,
        prompts=configuration.prompts,
        policy=configuration.policy,
        residency=build_residency(configuration.models, channel),
        queue_limit=settings.qwen_queue,
    )
    worker = LanguageWorker(
        service, announcer=announcer, grace_period=settings.grace_period, hang_limit=settings.step_limit
    )
    app = build_app(
        service,
        token=token,
        time_limit=settings.enhancement_limit,
        catalogue=configuration.catalogue,
        on_restart=worker.give_up,
    )
    doors = Doorkeeper(app)
    return _Built(service, worker, doors, _server(doors, settings))


def _server(app: ASGIApp, settings: QwenSettings) -> LocalServer:
    try:
        return LocalServer(app, settings.qwen_host, settings.qwen_port)
    except PortTaken as error:
        where = f"port {settings.qwen_port} on {settings.qwen_host}"
        cure = "stop that one, or set OURVIDZ_QWEN_PORT to another port"
        raise ConfigurationError(f"{where} is taken by another process: {cure}") from error
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(
            f"nothing can listen on {settings.qwen_place} ({reason}): set OURVIDZ_QWEN_HOST to an address of this "
            "machine, or to 0.0.0.0 for all of them"
        ) from error

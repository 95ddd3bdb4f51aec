"""`orchestrator`: one process that supervises the workers of a pod."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
from collections.abc import Mapping
from functools import partial

import structlog

from ourvidz_worker.backend.upstash.keys import new_owner
from ourvidz_worker.cli.card import build_broker
from ourvidz_worker.cli.chosen import read_catalogue, read_models
from ourvidz_worker.cli.probing import probe_port, probed
from ourvidz_worker.cli.queueing import build_queue
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import Catalogue, ModelFamily
from ourvidz_worker.control import WorkerName
from ourvidz_worker.runtime.worker import DELIVERY_GRACE
from ourvidz_worker.settings import QwenSettings, Settings, pod_settings
from ourvidz_worker.supervisor.broker import Broker
from ourvidz_worker.supervisor.child import HANG_GRACE, Child, ChildSpec, Release
from ourvidz_worker.supervisor.orchestrator import Orchestrator
from ourvidz_worker.supervisor.restarts import RestartPolicy
from ourvidz_worker.supervisor.watch import Limits

_STOP_MARGIN = 10.0  # closing connections and handing jobs back, after the grace period and the last delivery


def run(_arguments: argparse.Namespace) -> int:
    settings = start_daemon("orchestrator", pod_settings())
    files = ConfigFiles(settings.config_dir)
    broker = build_broker(read_models(files), settings.workers)
    return asyncio.run(_supervise(settings, read_catalogue(files), broker))


async def _supervise(settings: QwenSettings, catalogue: Catalogue, broker: Broker) -> int:
    orchestrator = Orchestrator(status_interval=settings.status_interval, status_file=settings.status_file)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orchestrator.stop)
    environment = _shared_knowledge(settings)
    # One starts after the other is ready, and jobs need not wait for a language model that may be elsewhere.
    in_order = sorted(settings.workers, key=lambda name: name == "qwen")
    children = [
        _child(
            name,
            settings,
            {**environment, "OURVIDZ_PROBE_PORT": str(_probe_port(number, settings))},
            release=_release(name, settings, catalogue),
            orchestrator=orchestrator,
            broker=broker,
        )
        for number, name in enumerate(in_order, start=1)
    ]
    structlog.get_logger().info("orchestrator_started", workers=settings.workers, models=settings.models)
    async with probed("orchestrator", settings, orchestrator.status):
        code = await orchestrator.run(children)
    structlog.get_logger().info("orchestrator_stopped", exit_code=code)
    return code


def _probe_port(number: int, settings: QwenSettings) -> int:
    """The workers answer behind their orchestrator, in order, or nowhere as it does."""
    port = probe_port("orchestrator", settings)
    return port and port + number


def _shared_knowledge(settings: QwenSettings) -> Mapping[str, str]:
    """Where the workers find the language worker beside them, and its token; an operator may name another one.

    Raises `ConfigurationError` for a language worker alone whose token nobody would know.
    """
    if "qwen" not in settings.workers:
        return {}
    drawn = settings.qwen_token is None and not settings.qwen_alone
    token = secrets.token_urlsafe(32) if drawn else settings.known_token()
    return {"OURVIDZ_QWEN_TOKEN": token, "OURVIDZ_ENHANCER_URL": settings.enhancer_url or settings.qwen_address}


def _release(name: WorkerName, settings: QwenSettings, catalogue: Catalogue) -> Release:
    if name == "qwen":
        return _nothing_is_held
    assert isinstance(settings, Settings), "a worker that takes jobs has a backend"
    return partial(_release_jobs, name, settings, catalogue)


async def _release_jobs(family: ModelFamily, settings: Settings, catalogue: Catalogue, owner: str, reason: str) -> int:
    queue = build_queue(settings, catalogue.queue_of(family), owner=new_owner())
    try:
        return await queue.release(owner, reason)
    finally:
        await queue.close()


async def _nothing_is_held(_owner: str, _reason: str) -> int:
    """The language worker answers requests and takes no jobs."""
    return 0


def _child(
    name: WorkerName,
    settings: QwenSettings,
    environment: Mapping[str, str],
    *,
    release: Release,
    orchestrator: Orchestrator,
    broker: Broker,
) -> Child:
    return Child(
        ChildSpec(name=name, argv=(sys.executable, "-m", "ourvidz_worker", name), environment=environment),
        policy=RestartPolicy(
            delay=settings.restart_delay(name), limit=settings.restart_limit, healthy_after=settings.healthy_after
        ),
        limits=Limits(silence=settings.silence_limit, step=settings.step_limit, load=settings.load_limit),
        new_owner=new_owner,
        release=release,
        changed=orchestrator.changed,
        stop_seconds=settings.grace_period + DELIVERY_GRACE + _STOP_MARGIN,
        hang_seconds=min(HANG_GRACE, settings.silence_limit),
        broker=broker,
    )

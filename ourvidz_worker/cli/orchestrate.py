"""`orchestrator`: one process that supervises the workers of a pod."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import structlog

from ourvidz_worker.backend.upstash.keys import new_owner
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.cli.wiring import build_queue, read_configuration
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import Catalogue, ModelFamily
from ourvidz_worker.runtime.worker import DELIVERY_GRACE
from ourvidz_worker.settings import Settings
from ourvidz_worker.supervisor.child import HANG_GRACE, Child, ChildSpec
from ourvidz_worker.supervisor.orchestrator import Orchestrator
from ourvidz_worker.supervisor.restarts import RestartPolicy
from ourvidz_worker.supervisor.watch import Limits

_STOP_MARGIN = 10.0  # closing connections and handing jobs back, after the grace period and the last delivery


def run(_arguments: argparse.Namespace) -> int:
    settings = start_daemon("orchestrator")
    return asyncio.run(_supervise(settings, read_configuration(ConfigFiles(settings.config_dir)).catalogue))


async def _supervise(settings: Settings, catalogue: Catalogue) -> int:
    orchestrator = Orchestrator(status_interval=settings.status_interval, status_file=settings.status_file)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orchestrator.stop)
    children = [_child(family, settings, catalogue, orchestrator) for family in settings.workers]
    structlog.get_logger().info("orchestrator_started", workers=settings.workers, models=settings.models)
    code = await orchestrator.run(children)
    structlog.get_logger().info("orchestrator_stopped", exit_code=code)
    return code


def _child(family: ModelFamily, settings: Settings, catalogue: Catalogue, orchestrator: Orchestrator) -> Child:
    async def release(owner: str, reason: str) -> int:
        queue = build_queue(settings, catalogue.queue_of(family), owner=new_owner())
        try:
            return await queue.release(owner, reason)
        finally:
            await queue.close()

    return Child(
        ChildSpec(name=family, argv=(sys.executable, "-m", "ourvidz_worker", family), environment={}),
        policy=RestartPolicy(
            delay=settings.restart_delay(family), limit=settings.restart_limit, healthy_after=settings.healthy_after
        ),
        limits=Limits(silence=settings.silence_limit, step=settings.step_limit, load=settings.load_limit),
        new_owner=new_owner,
        release=release,
        changed=orchestrator.changed,
        stop_seconds=settings.grace_period + DELIVERY_GRACE + _STOP_MARGIN,
        hang_seconds=min(HANG_GRACE, settings.silence_limit),
    )

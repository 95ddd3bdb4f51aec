"""`orchestrator`: one process that supervises the workers of a pod."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from ourvidz_worker.backend.queue.keys import new_owner
from ourvidz_worker.cli.card import build_brokers
from ourvidz_worker.cli.chosen import read_catalogue, read_models
from ourvidz_worker.cli.probing import limits_of, probe_port, probed
from ourvidz_worker.cli.queueing import build_queue
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import Catalogue, ModelFamily
from ourvidz_worker.control import NAME_VARIABLE, WorkerKind
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.runtime.worker import DELIVERY_GRACE
from ourvidz_worker.settings import QwenSettings, Settings, pod_settings, qwen_settings, read_settings
from ourvidz_worker.supervisor.broker import Broker
from ourvidz_worker.supervisor.child import HANG_GRACE, Child, ChildSpec, Release
from ourvidz_worker.supervisor.gpu import Card, visible_cards
from ourvidz_worker.supervisor.orchestrator import Orchestrator
from ourvidz_worker.supervisor.placement import environment_of, misplaced
from ourvidz_worker.supervisor.restarts import RestartPolicy
from ourvidz_worker.supervisor.roster import Member

_STOP_MARGIN = 10.0  # closing connections and handing jobs back, after the grace period and the last delivery


def run(_arguments: argparse.Namespace) -> int:
    settings = start_daemon("orchestrator", pod_settings())
    if "qwen" in settings.workers:
        read_settings(qwen_settings())  # what it lacks is said once, and not by each of its starts
    files = ConfigFiles(settings.config_dir)
    cards = visible_cards()
    if problems := list(misplaced(settings.roster, cards)):
        raise ConfigurationError(problems)
    brokers = build_brokers(read_models(files), settings.roster, cards)
    return asyncio.run(_supervise(settings, read_catalogue(files), cards, brokers))


async def _supervise(
    settings: QwenSettings, catalogue: Catalogue, cards: Sequence[Card], brokers: Mapping[str, Broker]
) -> int:
    orchestrator = Orchestrator(status_interval=settings.status_interval, status_file=settings.status_file)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orchestrator.stop)
    environment = _shared_knowledge(settings)
    # One starts after the other is ready, and jobs need not wait for a language model that may be elsewhere.
    in_order = sorted(settings.roster.members, key=lambda member: member.kind == "qwen")
    children = [
        _child(
            member,
            settings,
            {
                **environment,
                **environment_of(member, cards, os.environ),
                NAME_VARIABLE: member.name,
                "OURVIDZ_PROBE_PORT": str(_probe_port(number, settings)),
            },
            release=_release(member.kind, settings, catalogue),
            orchestrator=orchestrator,
            broker=brokers[member.name],
        )
        for number, member in enumerate(in_order, start=1)
    ]
    structlog.get_logger().info(
        "orchestrator_started",
        workers={member.name: member.device for member in in_order},
        cards={card.device: card.name for card in cards},
        models=settings.models,
    )
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
    # A file that is changed meanwhile is for the next start of the pod, and does not end workers that start again.
    kinds = {"OURVIDZ_WORKERS": ",".join(settings.workers)}
    if "qwen" not in settings.workers:
        return kinds
    drawn = settings.qwen_token is None and not settings.qwen_alone
    token = secrets.token_urlsafe(32) if drawn else settings.known_token()
    address = settings.enhancer_url or settings.qwen_address
    return {**kinds, "OURVIDZ_QWEN_TOKEN": token, "OURVIDZ_ENHANCER_URL": address}


def _release(kind: WorkerKind, settings: QwenSettings, catalogue: Catalogue) -> Release:
    if kind == "qwen":
        return _nothing_is_held
    assert isinstance(settings, Settings), "a worker that takes jobs has a backend"
    return partial(_release_jobs, kind, settings, catalogue)


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
    member: Member,
    settings: QwenSettings,
    environment: Mapping[str, str],
    *,
    release: Release,
    orchestrator: Orchestrator,
    broker: Broker,
) -> Child:
    return Child(
        ChildSpec(
            name=member.name,
            argv=(sys.executable, "-m", "ourvidz_worker", member.kind),
            environment=environment,
            kind=member.kind,
            device=member.device,
        ),
        policy=RestartPolicy(
            delay=settings.restart_delay(member.kind),
            limit=settings.restart_limit,
            healthy_after=settings.healthy_after,
        ),
        limits=limits_of(settings),
        new_owner=new_owner,
        release=release,
        changed=orchestrator.changed,
        stop_seconds=settings.grace_period + DELIVERY_GRACE + _STOP_MARGIN,
        hang_seconds=min(HANG_GRACE, settings.silence_limit),
        broker=broker,
    )

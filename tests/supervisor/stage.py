"""Tiny worker processes that speak the control protocol, and the supervisor's view of them."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from ourvidz_worker.supervisor.child import Child, ChildSpec
from ourvidz_worker.supervisor.restarts import RestartPolicy
from ourvidz_worker.supervisor.watch import Limits

# What every script may use; `life` counts the starts of this worker in a file named by LIVES.
PRELUDE = """
import json, os, signal, socket, sys, time

control = socket.socket(fileno=int(os.environ["OURVIDZ_CONTROL_FD"]))
owner = os.environ["OURVIDZ_OWNER"]
life = 1

if "LIVES" in os.environ:
    with open(os.environ["LIVES"], "a+") as lives:
        lives.write("x")
        lives.flush()
        life = lives.tell()

def say(**message):
    control.sendall(json.dumps(message).encode() + b"\\n")

def ready():
    say(kind="state", state="READY")

def beat():
    signal.signal(signal.SIGALRM, lambda *_: say(kind="alive"))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.02)

def serve():
    while True:
        signal.pause()

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
"""

READY = "ready(); serve()"
NEVER_READY = "serve()"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); serve()"


class Releases:
    """What was released, in order; `errors` are raised first."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.errors: list[Exception] = []

    async def __call__(self, owner: str, reason: str) -> int:
        self.calls.append((owner, reason))
        if self.errors:
            raise self.errors.pop(0)
        return 1


def child_of(
    script: str,
    *,
    name: str = "sdxl",
    environment: Mapping[str, str] | None = None,
    delay: float = 0.01,
    limit: int = 5,
    stop_seconds: float = 10.0,
    hang_seconds: float = 10.0,
    limits: Limits | None = None,
    healthy_after: float = 60.0,
    releases: Releases | None = None,
    argv: tuple[str, ...] | None = None,
    changed: object = None,
) -> Child:
    numbers = itertools.count(1)
    return Child(
        ChildSpec(name, argv or (sys.executable, "-I", "-S", "-c", PRELUDE + script), environment or {}),
        policy=RestartPolicy(delay=delay, limit=limit, healthy_after=healthy_after),
        limits=limits or Limits(),
        new_owner=lambda: f"{name}-{next(numbers)}",
        release=releases or Releases(),
        changed=changed if callable(changed) else lambda: None,
        stop_seconds=stop_seconds,
        hang_seconds=hang_seconds,
    )


@asynccontextmanager
async def supervised(child: Child) -> AsyncIterator[asyncio.Task[None]]:
    """The child runs; at the end of the block it is stopped."""
    running = asyncio.create_task(child.run())
    try:
        yield running
    finally:
        child.stop()
        await running

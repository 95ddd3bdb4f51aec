"""How a no-op job says that it was started: one record down a pipe, the same for every contender.

Runs inside every peer's own environment, so it knows the standard library alone.
"""

from __future__ import annotations

import functools
import os
import struct
import sys
import time
from collections.abc import Callable

REDIS_VARIABLE = "DISPATCH_REDIS"
PIPE_VARIABLE = "DISPATCH_PIPE"
QUEUE = "bench"
RECORD = struct.Struct("dd")
"""Seconds of the monotonic clock, which all processes share: when the job was queued, and when it was started."""


def noop(queued_at: float) -> None:
    """The job."""
    os.write(_pipe(), RECORD.pack(queued_at, time.monotonic()))


def redis_url() -> str:
    return os.environ[REDIS_VARIABLE]


def produce(push: Callable[[float], object]) -> None:
    """Queue as many jobs as each line of standard input says, and answer each line once they are queued."""
    for line in sys.stdin:
        for _ in range(int(line)):
            push(time.monotonic())
        sys.stdout.write("queued\n")
        sys.stdout.flush()


@functools.cache
def _pipe() -> int:
    return os.open(os.environ[PIPE_VARIABLE], os.O_WRONLY)

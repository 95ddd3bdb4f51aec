"""The queue of a worker and of whoever hands its jobs back, without anything else that a worker is made of."""

from __future__ import annotations

from collections.abc import Collection

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.ports import JobQueue
from ourvidz_worker.runtime.patient_queue import PatientQueue
from ourvidz_worker.settings import BackendSettings, Settings

COMMAND_SECONDS = 10.0


def open_redis(settings: BackendSettings, *, timeout_seconds: float = COMMAND_SECONDS) -> Redis:
    """The Redis of the environment; `timeout_seconds` bounds one command."""
    if settings.queue_url is not None:
        from ourvidz_worker.backend.redis.client import RedisClient  # noqa: PLC0415 - a library that Upstash needs not

        return RedisClient(url=settings.queue_url.get_secret_value(), timeout_seconds=timeout_seconds)
    return UpstashClient(
        url=settings.redis_rest_url,
        token=settings.redis_rest_token.get_secret_value(),
        timeout_seconds=timeout_seconds,
    )


def build_queue(settings: Settings, queue: str, owner: str, *, fast: Collection[str] = ()) -> JobQueue:
    """`fast` are the job types that are claimed first."""
    redis_queue = RedisQueue(
        open_redis(settings),
        queue=queue,
        owner=owner,
        pop_end=settings.pop_end,
        mode=settings.queue_mode,
        lease_seconds=settings.lease,
        fast=fast,
        longest_wait=settings.longest_wait,
    )
    # Without held lists a repeated push would double the job.
    return PatientQueue(redis_queue) if settings.queue_mode == "held" else redis_queue

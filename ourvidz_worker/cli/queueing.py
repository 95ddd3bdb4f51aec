"""The queue of a worker and of whoever hands its jobs back, without anything else that a worker is made of."""

from __future__ import annotations

from collections.abc import Collection

from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.cli.backends import open_redis
from ourvidz_worker.ports import JobQueue
from ourvidz_worker.runtime.patient_queue import PatientQueue
from ourvidz_worker.settings import Settings


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

"""How a queue stands: what waits, who holds what, what was put aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.queue.glimpses import Glimpse, look
from ourvidz_worker.backend.queue.holders import holders
from ourvidz_worker.backend.queue.keys import QueueKeys, lease_key
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.contract.payload_error import PayloadError

_NO_KEY = -2


@dataclass(frozen=True, slots=True)
class Entry:
    """An element on its way: `job_id`, `job_type` and `created_at` are None where it does not say.

    `expected_seconds` is what its generation should take, None where no worker could run it.
    """

    job_id: str | None
    job_type: str | None
    created_at: datetime | None
    attempt: int
    started: bool
    expected_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker that holds `count` jobs, the first of them in `jobs`; `lease_seconds` is None once it lapsed."""

    owner: str
    lease_seconds: int | None
    count: int
    jobs: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class QueueState:
    """`waiting`, `dead`: how many elements; `coming`: the first in the queue, which fast ones may pass."""

    queue: str
    waiting: int
    coming: tuple[Entry, ...]
    holders: tuple[Holder, ...]
    dead: int


async def queue_state(
    redis: Redis, queue: str, catalogue: Catalogue, *, pop_end: Literal["right", "left"], shown: int
) -> QueueState:
    """Look at everything of a queue, at most `shown` elements of each list; raises as `Redis` does."""
    keys = QueueKeys(queue)
    return QueueState(
        queue,
        waiting=await redis.llen(queue),
        coming=_entries(await look(redis, queue, begin_at=pop_end, count=shown), catalogue),
        holders=tuple(
            [await _holder(redis, keys, owner, catalogue, shown) for owner in sorted(await holders(redis, keys))]
        ),
        dead=await redis.llen(keys.dead),
    )


async def _holder(redis: Redis, keys: QueueKeys, owner: str, catalogue: Catalogue, shown: int) -> Holder:
    seconds = await redis.ttl(lease_key(owner))
    held = keys.held(owner)
    return Holder(
        owner,
        lease_seconds=None if seconds == _NO_KEY else seconds,
        count=await redis.llen(held),
        jobs=_entries(await look(redis, held, begin_at="right", count=shown), catalogue),
    )


def _entries(glimpses: list[Glimpse], catalogue: Catalogue) -> tuple[Entry, ...]:
    return tuple(_entry(glimpse, catalogue) for glimpse in glimpses)


def _entry(glimpse: Glimpse, catalogue: Catalogue) -> Entry:
    delivery = open_delivery(glimpse.first)
    try:
        job = parse_job(delivery, catalogue)
    except PayloadError as error:
        return Entry(error.job_id, None, None, delivery.attempt, delivery.started)
    return Entry(job.id, job.type.name, job.created_at, delivery.attempt, delivery.started, job.expected_seconds)

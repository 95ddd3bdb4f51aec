"""What waits on the queues of the embedded backend's Redis, and whose turn comes when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ourvidz_worker.contract.cancellation import CANCELLED_FOR, cancel_key
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.envelope import job_id_of, open_delivery, open_payload
from ourvidz_worker.contract.fields import Found, first_in, moment
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.local.redis_commands import RedisCommands

SHOWN = 200
WINDOW = 32  # as far as a claim looks for a fast job (`claim.lua`)
LONGEST_WAIT = timedelta(seconds=120)  # OURVIDZ_LONGEST_WAIT as workers have it where nobody sets it


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue element as a claim sees it; what is no job has neither id nor type."""

    job_id: str | None = None
    job_type: str | None = None
    created_at: datetime | None = None
    redelivered: bool = False

    def may_be_passed(self, fast: Collection[str], now: datetime) -> bool:
        young = self.created_at is not None and timedelta() <= now - self.created_at < LONGEST_WAIT
        return young and not self.redelivered and self.job_type not in fast


class WaitingLine:
    """The product's queues, taken from the right (contract section 1). Raises as `RedisCommands.execute` does."""

    def __init__(self, redis: RedisCommands, catalogue: Catalogue) -> None:
        self._redis = redis
        self._fast = {job_type.queue: catalogue.fast_types(job_type.queue) for job_type in catalogue.values()}

    async def positions(self) -> dict[str, int]:
        """The place of each waiting job in its queue, from 1, as workers with their usual settings will claim them.

        Of a long queue those at its head.
        """
        now = datetime.now(UTC)
        places: dict[str, int] = {}
        for queue, fast in self._fast.items():
            elements = await self._redis.execute(["LRANGE", queue, str(-SHOWN), "-1"])
            waiting = [_read(element) for element in reversed(elements)]
            for place, job in enumerate(in_claim_order(waiting, fast, now), 1):
                if job.job_id is not None:
                    places.setdefault(job.job_id, place)
        return places

    async def remove(self, queue: str, job_id: str) -> bool:
        """Take a job off its queue; False when it does not wait there (any more)."""
        removed = 0
        for element in await self._redis.execute(["LRANGE", queue, "0", "-1"]):
            if job_id.encode() in element and _read(element).job_id == job_id:
                removed += await self._redis.execute(["LREM", queue, "0", element])
        return removed > 0

    async def is_held(self, queue: str, job_id: str) -> bool:
        """Whether a worker has claimed the job and not let go of it."""
        for held in await self._redis.execute(["KEYS", f"{queue}:held:*"]):
            for element in await self._redis.execute(["LRANGE", held, "0", "-1"]):
                if job_id.encode() in element and _read(element).job_id == job_id:
                    return True
        return False

    async def mark_cancelled(self, job_id: str) -> None:
        """Have whoever holds the job stop at its next step."""
        await self._redis.execute(["SET", cancel_key(job_id), "user", "EX", str(CANCELLED_FOR)])

    async def cancelled(self, job_ids: Sequence[str]) -> set[str]:
        """Which of these jobs somebody has cancelled, by whatever way."""
        if not job_ids:
            return set()
        marks = await self._redis.execute(["MGET", *(cancel_key(job_id) for job_id in job_ids)])
        return {job_id for job_id, mark in zip(job_ids, marks, strict=True) if mark is not None}


def in_claim_order(waiting: Sequence[Waiting], fast: Collection[str], now: datetime) -> Iterator[Waiting]:
    """Jobs as claims will take them: fast ones pass others that have not waited long.

    `waiting` begins at the end that is taken from.
    """
    line = list(waiting)
    while line:
        yield line.pop(next((place for place, job in enumerate(line[:WINDOW]) if not job.may_be_passed(fast, now)), 0))


@lru_cache(maxsize=2 * SHOWN)
def _read(element: bytes) -> Waiting:
    delivery = open_delivery(element.decode("utf-8", "surrogateescape"))
    try:
        payload = open_payload(delivery.original)
        job_id = job_id_of(payload)
    except PayloadError:
        return Waiting()
    job_type = first_in(payload, ("type", "job_type"))
    return Waiting(
        job_id,
        job_type.value if job_type is not None and isinstance(job_type.value, str) else None,
        _moment(first_in(payload, ("created_at",))),
        delivery.redelivered,
    )


def _moment(found: Found | None) -> datetime | None:
    try:
        return None if found is None else moment(found)
    except PayloadError:
        return None

"""A `JobQueue` in memory: the protocol's meaning without Redis, for tests of what is built on it."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from ourvidz_worker.contract.envelope import (
    MAX_ELEMENT_BYTES,
    REDELIVERY_PREFIX,
    Delivery,
    open_delivery,
    open_payload,
)
from ourvidz_worker.contract.fields import first_in
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.ports import Begun, Claim, Reaping, Renewal

LEASE_SECONDS = 90.0
DIED_AT = "2026-01-01T00:00:00+00:00"
WINDOW = 32
WINDOW_BYTES = 65_536
_MOMENT = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.?\d*(?:Z|\+00:00|)"
_CREATED_AT = re.compile(rf'created_at\\*"\s*:\s*\\*"{_MOMENT}\\*"', re.ASCII)
_IN_UTC = re.compile(_MOMENT, re.ASCII)


@dataclass
class MemoryRedis:
    """What several `MemoryQueue`s share. `queue` has the next element at its end; `held` the oldest first.

    `lose_answers` counts calls that will be carried out and yet raise, like a connection cut too late.
    """

    clock: Callable[[], float] = time.monotonic
    queue: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    held: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    leases: dict[str, float] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    lose_answers: int = 0

    def alive(self, owner: str) -> bool:
        return self.leases.get(owner, float("-inf")) > self.clock()

    def answer(self) -> None:
        if self.lose_answers:
            self.lose_answers -= 1
            raise BackendUnavailable("the answer was lost")


class MemoryQueue:
    """A `JobQueue` of one owner over a `MemoryRedis`."""

    def __init__(
        self,
        redis: MemoryRedis,
        *,
        queue: str,
        owner: str,
        pop_end: Literal["right", "left"] = "right",
        fast: Collection[str] = (),
        longest_wait: float = 0,
    ) -> None:
        self.name = queue
        self._redis = redis
        self._owner = owner
        self._next = -1 if pop_end == "right" else 0
        self._fast = frozenset(fast if longest_wait else ())
        self._longest_wait = timedelta(seconds=longest_wait)

    async def length(self) -> int:
        self._redis.answer()
        return len(self._redis.queue)

    async def wait(self, pause: float) -> None:
        await asyncio.sleep(pause)

    async def claim(self, *, alike: str | None = None) -> Claim | None:
        self._redis.leases[self._owner] = self._redis.clock() + LEASE_SECONDS
        element = self._pop(alike)
        behind = len(self._redis.queue)
        if element is not None:
            self._redis.held[self._owner].append(element)
        self._redis.answer()
        return None if element is None else replace(self._claim_of(element), behind=behind)

    async def begin(self, claim: Claim, job_id: str) -> Begun | None:
        mine = self._redis.held[self._owner]
        begun = claim.begun
        known = next((element for element in (claim.element, begun) if element in mine), None)
        alive = self._prolong()
        if alive and known is not None:
            mine.remove(known)
            mine.append(begun)
        self._redis.answer()
        if not alive or known is None:
            return None
        return Begun(self._claim_of(begun), job_id in self._redis.cancelled)

    async def renew(self, job_ids: Collection[str]) -> Renewal:
        alive = self._prolong()
        self._redis.answer()
        return Renewal(alive, frozenset(self._redis.cancelled.intersection(job_ids) if alive else ()))

    async def acknowledge(self, claim: Claim) -> list[Claim]:
        self._take_out(self._owner, claim.element)
        self._redis.answer()
        return self._claims()

    async def requeue(self, claim: Claim, reason: str, *, charged: bool) -> None:
        if self._take_out(self._owner, claim.element):
            self._push_next(claim.delivery.again(reason, charged=charged))
        self._redis.answer()

    async def put_back(self, claim: Claim) -> None:
        if self._take_out(self._owner, claim.element):
            self._push_next(claim.delivery.untouched())
        self._redis.answer()

    async def bury(self, claim: Claim, reason: str) -> None:
        if self._take_out(self._owner, claim.element):
            self._redis.dead.insert(0, claim.delivery.dead_letter(reason, died_at=DIED_AT))
        self._redis.answer()

    async def held(self) -> list[Claim]:
        self._redis.answer()
        return self._claims()

    async def peek(self, count: int) -> list[str]:
        self._redis.answer()
        return self._coming()[: max(count, 0)]

    async def release(self, owner: str, reason: str) -> int:
        released = self._hand_back(owner, reason)
        self._redis.leases.pop(owner, None)
        self._redis.answer()
        return released

    async def reap(self) -> Reaping:
        others = [owner for owner in self._redis.held if owner != self._owner and not self._redis.alive(owner)]
        jobs = sum(self._hand_back(owner, f"its worker {owner} stopped renewing its lease") for owner in others)
        self._redis.answer()
        return Reaping(jobs, holding=bool(self._redis.held[self._owner]))

    async def close(self) -> None:
        """There is nothing to close."""

    def _pop(self, alike: str | None) -> str | None:
        """The next element; what is too large for a job goes to the dead letters."""
        while self._redis.queue:
            coming = self._coming()
            passed_over = self._passed_over(coming)
            if alike and alike != _read(coming[passed_over])[0]:
                return None
            element = self._redis.queue.pop(-1 - passed_over if self._next else passed_over)
            size = _size(element)
            if size <= MAX_ELEMENT_BYTES * (8 if element.startswith(REDELIVERY_PREFIX) else 1):
                return element
            reason = f"element has {size} bytes; at most {MAX_ELEMENT_BYTES} are accepted"
            self._redis.dead.insert(0, Delivery(element).dead_letter(reason, died_at=DIED_AT))
        return None

    def _coming(self) -> list[str]:
        """What waits, the next element first."""
        return self._redis.queue[::-1] if self._next else list(self._redis.queue)

    def _passed_over(self, coming: list[str]) -> int:
        """How many elements fast ones pass."""
        if not self._fast or len(coming) == 1:
            return 0
        left = WINDOW_BYTES
        for index, element in enumerate(coming[:WINDOW]):
            left -= _size(element)
            if left < 0:
                return 0
            if not self._may_be_passed(element):
                return index
        return 0

    def _may_be_passed(self, element: str) -> bool:
        if element.startswith(REDELIVERY_PREFIX):
            return False
        seen = _CREATED_AT.search(element) if element.count("created_at") == 1 else None
        if seen and not any(name in element for name in self._fast):
            return self._is_young(seen[1])
        job_type, created_at = _read(element)
        return job_type not in self._fast and self._is_young(created_at)

    def _is_young(self, created_at: str | None) -> bool:
        now = datetime.now(UTC)
        return created_at is not None and _second(now - self._longest_wait) < created_at <= _second(now)

    def _claims(self) -> list[Claim]:
        return [self._claim_of(element) for element in self._redis.held[self._owner]]

    def _prolong(self) -> bool:
        alive = self._redis.alive(self._owner)
        if alive:
            self._redis.leases[self._owner] = self._redis.clock() + LEASE_SECONDS
        return alive

    def _hand_back(self, owner: str, reason: str) -> int:
        elements = self._redis.held.pop(owner, [])
        for element in reversed(elements):
            delivery = open_delivery(element)
            self._push_next(delivery.again(reason, charged=delivery.started))
        return len(elements)

    def _push_next(self, element: str) -> None:
        if self._next:
            self._redis.queue.append(element)
        else:
            self._redis.queue.insert(0, element)

    def _take_out(self, owner: str, element: str) -> bool:
        if element not in self._redis.held[owner]:
            return False
        self._redis.held[owner].remove(element)
        return True

    def _claim_of(self, element: str) -> Claim:
        return Claim(queue=self.name, element=element, delivery=open_delivery(element))


def _size(element: str) -> int:
    return len(element.encode("utf-8", "surrogateescape"))


def _second(moment: datetime) -> str:
    return moment.isoformat()[:19]


def _read(element: str) -> tuple[str | None, str | None]:
    """The type of a first delivery and the second it was created in, each None where it does not say.

    The parser of jobs finds more to be unclear than the script does: of an element that would fail as a job the two may
    think differently.
    """
    if element.startswith(REDELIVERY_PREFIX):
        return None, None
    try:
        payload = open_payload(element)
    except PayloadError:
        return None, None
    found = first_in(payload, ("type", "job_type"))
    created_at = payload.get("created_at")
    in_utc = _IN_UTC.fullmatch(created_at) if isinstance(created_at, str) else None
    return found.value if found and isinstance(found.value, str) else None, in_utc and in_utc[1]

"""The promises of the protocol, checked against every thing that happens."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.runtime.handling import MAX_ATTEMPTS
from tests.model.far_side import (
    CALLBACK_PATH,
    FINAL,
    KEYS,
    QUEUE,
    ROWS_PATH,
    STORAGE_PATH,
    Placement,
    Product,
    RedisServer,
)
from tests.model.network import Call, Fate
from tests.model.world import Process, World

WRITES = ("claim", "begin", "acknowledge", "move")
BUGS = ("ending_failed", "generation_failed", "encoding_failed", "worker_crashed")


WAKING_SECONDS = 0.001  # what was paused in the middle of a step notices at its end


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: `kind` is one of the constants below."""

    kind: str
    when: float
    what: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.when:.3f}: {self.what}"


LOST = "lost"
UNFINISHED = "unfinished"
DOUBLED = "doubled"
NOT_HELD = "worked on without holding it"
AT_ONCE = "generated twice at once"
TOO_OFTEN = "generated too often"
AGAIN = "generated again although spooled"
SET_BACK = "processing after the end"
CHANGED = "ending changed"
BUG = "internal error"


@dataclass(frozen=True, slots=True)
class Record:
    """A status that the product recorded, and who told it."""

    status: str
    when: float
    sender: Process


class Oracle:
    """Sees everything; `violation` is the first promise that was broken.

    `late` counts `processing` reports that no worker could have kept from coming after the end: sent by a worker
    that held the job and knew of no end, carried out by the network when that worker waited for it no longer.
    `blind` counts failures that replaced a `completed` which the worker asked for and could not read.
    """

    def __init__(self, world: World, redis: RedisServer, product: Product) -> None:
        self._world = world
        self._redis = redis
        self._product = product
        self._places: Mapping[str, Placement] = {}
        self._drawing: dict[str, dict[Process, None]] = defaultdict(dict)
        self._claimed_at: dict[tuple[str, str], float] = {}
        self._spooled_at: dict[tuple[str, str], float] = {}
        self._records: dict[str, list[Record]] = defaultdict(list)
        self.generations: Counter[str] = Counter()
        self.uncharged: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.blind: Counter[str] = Counter()
        self._looks: dict[tuple[Process, str], Call] = {}
        self.violation: Violation | None = None

    # What processes do.

    def sending(self, call: Call) -> None:
        """A request leaves."""
        if call.url.path == ROWS_PATH:
            self._looks[call.process, call.url.params["id"].removeprefix("eq.")] = call
            return
        job_id = self._delivered_job(call)
        if job_id is None:
            return
        call.notes["held"] = held = self._redis.holds(call.process.name, job_id)
        if call.url.path == CALLBACK_PATH:
            call.notes["status"] = status = json.loads(call.body)["status"]
            call.notes["claimed_at"] = self._claimed_at.get((call.process.name, job_id), 0.0)
            if status not in FINAL:
                return
            if self._was_told(job_id, status, call.process) or self._was_set_back(job_id, status):
                return  # it undoes a `processing` that came late: the job is over, and the product knew
        if not held:
            self._broken(NOT_HELD, f"{call.process.name} sends {call} of {job_id}")

    def unconfirmed_step(self, process: Process, job_id: str) -> None:
        """A denoising step begins before Redis has confirmed the start. A death is not charged then, so once only."""
        place = dict(self._redis.placements()).get(job_id)
        if place is not None and open_delivery(place.element.decode()).redelivered:
            self._broken(TOO_OFTEN, f"{process.name} generates {job_id}, which came again, without being charged")

    def step(self, process: Process, job_id: str, spool: str) -> None:
        """A denoising step begins."""
        if process not in self._drawing[job_id]:
            self._generation_started(process, job_id, spool)
        self._look_at_step(process, job_id)

    def _generation_started(self, process: Process, job_id: str, spool: str) -> None:
        self.generations[job_id] += 1
        self._drawing[job_id][process] = None
        if self.generations[job_id] > (allowed := MAX_ATTEMPTS + self.uncharged[job_id]):
            self._broken(TOO_OFTEN, f"{job_id} is generated for the {self.generations[job_id]}th time of {allowed}")
        spooled_at = self._spooled_at.get((spool, job_id), float("inf"))
        if spooled_at < self._claimed_at.get((process.name, job_id), 0.0):
            self._broken(AGAIN, f"{process.name} generates {job_id}, spooled in {spool} at {spooled_at:.3f}")

    def _look_at_step(self, process: Process, job_id: str) -> None:
        if not self._redis.holds(process.name, job_id):
            self._broken(NOT_HELD, f"{process.name} generates {job_id}")
        others = [
            other.name
            for other in self._drawing[job_id]
            if other is not process and other.running and self._world.now - other.resumed_at > WAKING_SECONDS
        ]
        if others:
            self._broken(AT_ONCE, f"{process.name} generates {job_id}, and so does {others[0]}")

    def generation_ended(self, process: Process, job_id: str) -> None:
        self._drawing[job_id].pop(process, None)

    def spooled(self, spool: str, job_id: str) -> None:
        self._spooled_at.setdefault((spool, job_id), self._world.now)

    def logged(self, process: Process, event: str, entry: Mapping[str, object], trouble: str) -> None:
        """A line of its log. What goes wrong with a job that it lost while it was paused is of no consequence."""
        if event not in BUGS:
            return
        job_id = entry.get("job_id")
        if job_id is None or self._redis.holds(process.name, str(job_id)):
            self._broken(BUG, f"{process.name} {event} {job_id}: {trouble}")

    def unhandled(self, process: Process, context: Mapping[str, object]) -> None:
        """Something that its event loop would complain of."""
        if process.alive:
            self._broken(BUG, f"{process.name}: {context['message']}: {context.get('exception')!r}")

    # What the far side does.

    def redis_executed(self, call: Call) -> None:
        name = self._redis.name_of(call)
        if name not in WRITES:
            return
        places: dict[str, Placement] = {}
        for job_id, place in self._redis.placements():
            if job_id in places:
                self._broken(DOUBLED, f"{job_id} lies on {places[job_id].key} and on {place.key}")
            places[job_id] = place
        for job_id in self._places.keys() - places.keys():
            if not self._ended(job_id):
                self._broken(
                    LOST, f"{job_id} left Redis by {name} of {call.process.name}, and the product knows no end"
                )
        for job_id, place in places.items():
            self._moved(call.process, job_id, self._places.get(job_id, place), place)
        self._places = places

    def _moved(self, process: Process, job_id: str, source: Placement, place: Placement) -> None:
        if place.key.startswith(KEYS.held("")):
            self._claimed_at.setdefault((KEYS.owner_of(place.key), job_id), self._world.now)
            return
        if source.key == place.key:
            return
        owner = KEYS.owner_of(source.key)
        self._claimed_at.pop((owner, job_id), None)
        before, after = open_delivery(source.element.decode()), open_delivery(place.element.decode())
        # Only a worker itself may hand back what it began without being charged.
        if place.key == QUEUE and owner == process.name and before.started and after.attempt == before.attempt:
            self.uncharged[job_id] += 1

    def told(self, call: Call, job_id: str, status: str) -> None:
        """The product recorded a status."""
        records = self._records[job_id]
        was = records[-1].status if records else ""
        readable = self._status_at(job_id, call.notes["claimed_at"])
        sender = call.process
        if status in FINAL:
            if was == "completed" != status and readable == "completed":
                look = self._looks.get((sender, job_id))
                if look is None or look.fate is Fate.GOOD:
                    self._broken(CHANGED, f"{job_id} was completed and is now {status}, says {sender.name}")
                self.blind[job_id] += 1
        elif self._ended(job_id):
            own = any(record.status in FINAL and record.sender is sender for record in records)
            if not call.notes["held"] or readable in FINAL or (own and call.heard):
                self._broken(SET_BACK, f"{sender.name} reported processing of {job_id} after its end")
            self.late[job_id] += 1
            self._world.note(f"{job_id} is set back, late and unavoidably", sender)
        records.append(Record(status, self._world.now, sender))

    def _status_at(self, job_id: str, when: float) -> str:
        """What the product would have said then."""
        return next((record.status for record in reversed(self._records[job_id]) if record.when < when), "")

    def _ended(self, job_id: str) -> bool:
        return any(record.status in FINAL for record in self._records[job_id])

    # At the end.

    def over(self, jobs: list[str]) -> bool:
        """Whether nothing is left to do for any job."""
        return not any(self._left(job_id) for job_id in jobs)

    def finish(self, jobs: list[str]) -> None:
        """Long after the last fault, nothing may be left."""
        for job_id in jobs:
            if left := self._left(job_id):
                self._broken(UNFINISHED, f"{job_id} {left}")

    def _left(self, job_id: str) -> str | None:
        places = [place.key for job, place in self._redis.placements() if job == job_id]
        if places:
            return None if places == [KEYS.dead] else f"still lies on {', '.join(places)}"
        status = self._product.rows[job_id].status
        if status in FINAL or (self.late[job_id] and self._ended(job_id)):
            return None
        return f"is gone from Redis, and the product says {status}"

    def _was_told(self, job_id: str, status: str, sender: Process) -> bool:
        return any(record.status == status and record.sender is sender for record in self._records[job_id])

    def _was_set_back(self, job_id: str, status: str) -> bool:
        """Whoever undoes that repeats it until it is answered, also when another one undid it meanwhile."""
        statuses = [record.status for record in self._records[job_id]]
        return status in statuses and any(later not in FINAL for later in statuses[statuses.index(status) :])

    def _delivered_job(self, call: Call) -> str | None:
        if call.url.path == CALLBACK_PATH:
            return str(json.loads(call.body)["job_id"])
        if call.url.path.startswith(STORAGE_PATH):
            return call.url.path.rsplit("/", 1)[-1].removesuffix(".png")
        return None

    def _broken(self, kind: str, what: str) -> None:
        violation = Violation(kind, self._world.now, what)
        self._world.note(f"VIOLATION {kind}: {what}")
        self.violation = self.violation or violation

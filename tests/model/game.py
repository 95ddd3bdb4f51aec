"""One world from its seed: jobs are queued, bad luck comes and ends, and everything has to come right."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import structlog

from ourvidz_worker.backend.exchange import Exchange
from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from ourvidz_worker.runtime import durable
from tests.model.climate import Blow, Climate, Weather
from tests.model.far_side import CALLBACK_PATH, KEYS, ROWS_PATH, STORAGE_PATH, Product, RedisServer, Row
from tests.model.network import Call, Network
from tests.model.oracle import Oracle, Violation
from tests.model.pods import Pod, Setting
from tests.model.world import World

SETTLING_SECONDS = 1500.0
MOST_STEPS = 400_000
_EPOCH = 1_000_000_000.0  # long before the spool's files, so that none is old
_UNTOLD = ("job_claimed", "models_loaded")
_JOB_ID = re.compile(r"job-\d+")
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a world.

    `violation` is the promise that was broken, if one was. `seconds` are virtual. By job: how many `generations` were
    begun, and what the product says. `dead` are the jobs among the dead letters. `late` and `blind`
    are the oracle's.
    """

    seed: int
    violation: Violation | None
    timeline: tuple[str, ...]
    seconds: float
    generations: dict[str, int]
    statuses: dict[str, str]
    dead: tuple[str, ...]
    late: int
    blind: int

    def story(self) -> str:
        """The timeline without what is only about other jobs than the one in question."""
        found = _JOB_ID.search(str(self.violation))
        job_id = found[0] if found else "job"
        lines = (line for line in self.timeline if job_id in line or "job-" not in line)
        return "\n".join((f"seed {self.seed}: {self.violation}", *lines))


def play(seed: int, climate: Climate | None = None) -> Outcome:
    return Game(seed, climate or Climate()).play()


class Game:
    def __init__(self, seed: int, climate: Climate) -> None:
        self._seed = seed
        self._climate = climate
        self._random = random.Random(seed)
        self._world = World(self._random)
        self._folder = Path(tempfile.mkdtemp(prefix="model-", dir=_memory_folder()))
        self._redis = RedisServer(self._world)
        self._product = Product(self._world)
        self._oracle = Oracle(self._world, self._redis, self._product)
        self._world.on_unhandled = self._oracle.unhandled
        names = [f"pod{number}" for number in range(1, 1 + self._random.randint(*climate.pods))]
        self._weather = Weather(climate, self._random, names)
        self._network = Network(
            self._world,
            serve=self._serve,
            fate_of=lambda call: self._weather.fate_of(call, self._redis.name_of(call)),
            watch=self._oracle.sending,
            passing=self._passing,
        )
        self._jobs: list[str] = []
        self._poison: dict[str, int] = {}
        most_images = self._random.choice(climate.most_images)
        setting = Setting(self._world, self._oracle, _catalogue(), self._poison, climate, most_images)
        shared = self._random.random() < climate.shared_spool
        self._pods = {
            name: Pod(setting, name, self._folder / ("shared" if shared else f"spool-{name}")) for name in names
        }

    def play(self) -> Outcome:
        with _virtual(self._world, self._network, self._seed), self._told():
            try:
                return self._play()
            finally:
                self._world.discard()
                shutil.rmtree(self._folder)

    def _play(self) -> Outcome:
        self._prepare()
        limit = self._weather.ends_at + SETTLING_SECONDS
        while self._oracle.violation is None and self._world.now < limit:
            self._world.advance()
            if self._world.now > self._weather.ends_at and self._settled():
                break
            if self._world.steps > MOST_STEPS:
                raise RuntimeError(f"the world of seed {self._seed} does not come to rest")
        if self._oracle.violation is None:
            self._oracle.finish(self._jobs)
        return Outcome(
            seed=self._seed,
            violation=self._oracle.violation,
            timeline=self._world.timeline(),
            seconds=self._world.now,
            generations={job_id: self._oracle.generations[job_id] for job_id in self._jobs},
            statuses={job_id: row.status for job_id, row in self._product.rows.items()},
            dead=tuple(job_id for job_id, place in self._redis.placements() if place.key == KEYS.dead),
            late=self._oracle.late.total(),
            blind=self._oracle.blind.total(),
        )

    def _prepare(self) -> None:
        for pod in self._pods.values():
            self._world.after(self._random.uniform(0, 20), pod.boot)
        for when, pod_name, blow in self._weather.blows:
            self._world.after(when, partial(self._strike, self._pods[pod_name], blow))
        for number in range(1, 1 + self._random.randint(*self._climate.jobs)):
            self._plan_job(f"job-{number}")

    def _plan_job(self, job_id: str) -> None:
        climate, dice = self._climate, self._random.random
        queued_at = self._random.uniform(0, self._weather.ends_at * 0.6)
        linked_at = queued_at + self._random.uniform(0, 400) if dice() < climate.unlinked else 0
        self._product.rows[job_id] = Row(linked_at=linked_at, known=dice() >= climate.unknown)
        steps = self._random.randint(2, 8)
        if dice() < climate.poison:
            self._poison[job_id] = self._random.randint(1, steps)
        element = json.dumps(
            {
                "id": job_id,
                "type": "sdxl_image_fast",
                "prompt": "a lighthouse",
                "user_id": "user-1",
                "config": {"num_images": 1, "seed": 7, "num_inference_steps": steps},
                "metadata": {},
            }
        )
        self._jobs.append(job_id)
        self._world.after(queued_at, lambda: self._redis.submit(job_id, element))
        if dice() < climate.cancelled:
            self._world.after(queued_at + self._random.uniform(0, 60), lambda: self._redis.cancel(job_id))

    def _settled(self) -> bool:
        return not self._network.under_way and self._oracle.over(self._jobs)

    def _passing(self, call: Call) -> None:
        process = call.process
        if process.alive and (blow := self._weather.strikes(self._world.now, self._redis.name_of(call))) is not None:
            pod = self._pods[process.name.split("-")[0]]
            if process is pod.worker:
                self._world.after(0, lambda: self._strike(pod, blow))

    def _strike(self, pod: Pod, blow: Blow) -> None:
        worker = pod.worker
        match blow:
            case "pod":
                pod.crash(self._random.uniform(1, 60))
            case "drain":
                pod.drain()
            case "kill" if worker is not None:
                worker.kill()
            case "pause" if worker is not None:
                worker.pause(self._weather.pause_seconds())

    def _serve(self, call: Call) -> httpx.Response:
        path = call.url.path
        if path == CALLBACK_PATH:
            answer, job_id, status = self._product.callback(call)
            if status:
                self._world.note(f"product: {job_id} is {status}", call.process)
                self._oracle.told(call, job_id, status)
            return answer
        if path == ROWS_PATH:
            return self._product.row(call)
        if path.startswith(STORAGE_PATH):
            self._world.note(f"storage: {path.rsplit('/', 1)[-1]}", call.process)
            return httpx.Response(200, json={})
        answer = self._redis.serve(call)
        self._oracle.redis_executed(call)
        return answer

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the processes log becomes part of the timeline."""

        def tell(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
            if self._world.over:
                raise structlog.DropEvent
            event = entry.pop("event")
            exception = entry.pop("exc_info", None)
            process = self._world.current
            trouble = "".join(traceback.format_exception(sys.exception())) if exception is True else ""
            if event not in _UNTOLD:
                said = " ".join(f"{name}={value}" for name, value in sorted(entry.items()))
                self._world.note(f"log: {event} {said}{trouble}", process)
            if process is not None:
                self._oracle.logged(process, event, entry, trouble)
            raise structlog.DropEvent

        before = structlog.get_config()
        structlog.configure(processors=[structlog.contextvars.merge_contextvars, tell], cache_logger_on_first_use=False)
        try:
            yield
        finally:
            structlog.configure(**before)


@contextmanager
def _virtual(world: World, network: Network, seed: int) -> Iterator[None]:
    """The world's clock, dice and network in place of the real ones."""
    dice = random.getstate()
    random.seed(seed)
    with ExitStack() as stack:
        for module, name, stand_in in (
            (time, "time", lambda: _EPOCH + world.now),
            (time, "monotonic", lambda: world.now),
            (httpx, "AsyncClient", network.client),
            (Exchange, "post", network.post),
            # Nothing of a world has to survive a power cut, and its disk is never full.
            (durable, "flush", lambda _path: None),
            (durable, "PROBE_BYTES", 1),
        ):
            stack.enter_context(mock.patch.object(module, name, stand_in))
        try:
            yield
        finally:
            random.setstate(dice)


@cache
def _catalogue() -> Catalogue:
    return parse_catalogue((_ROOT / "configs" / "job_types.toml").read_text(encoding="utf-8"))


def _memory_folder() -> str | None:
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None

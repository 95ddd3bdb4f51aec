"""Several pods on one queue: one is cut off, one dies as a whole, and no job is lost or done twice."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.local.backend import EmbeddedBackend
from tests.chaos.far_side import FarSide
from tests.chaos.judge import Evidence, judge
from tests.chaos.plan import Kind, Planned, small
from tests.chaos.pods import Pod, Process
from tests.fleet.network import LOOPBACK, Link, bridge, links
from tests.support.commands import COMMAND_SECONDS, PAYLOADS
from tests.support.embedded import JOB_TYPES
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

BACKLOG = 10
STEPS = 3
LEASE_SECONDS = 6
QUICK = {
    "OURVIDZ_MODELS": "testcard",
    "OURVIDZ_LEASE": str(LEASE_SECONDS),
    "OURVIDZ_REAP_INTERVAL": "1",
    "OURVIDZ_SDXL_POLL": "0.2",
    "OURVIDZ_SDXL_RESTART_DELAY": "0.1",
    "OURVIDZ_GRACE_PERIOD": "1",
    "OURVIDZ_SPOOL_RESERVE": "0",
}
SLOW = {"OURVIDZ_WORKERS": "sdxl", "STEP_SECONDS": "3"}  # a job outlives its lease: whoever is cut off is in the middle
SEVERAL = '[[workers]]\nkind = "sdxl"\ndevice = "cpu"\ncount = 2\n'
ORCHESTRATOR = (sys.executable, "-m", "tests.support.troubled_orchestrator")


@dataclass(slots=True)
class Fleet:
    """`a` and `b` have a slow worker each, `c` has two quick ones in one pod."""

    far: FarSide
    pods: Mapping[str, Pod]
    links: Mapping[str, Link]
    jobs: list[Planned] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    async def submit(self, count: int = 1, *, steps: int = STEPS) -> None:
        recorded = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text())
        for _ in range(count):
            payload = small(recorded, self.dice)
            payload["config"]["steps"] = steps
            self.jobs.append(Planned(payload["id"], Kind.ORDINARY, "sdxl_queue", payload, files=1))
            await self.far.backend.submit(payload)

    def events(self, name: str) -> list[dict[str, Any]]:
        self.pods[name].read_log()
        return self.pods[name].events

    def count(self, name: str, event: str) -> int:
        return [entry["event"] for entry in self.events(name)].count(event)

    async def saw(self, name: str, event: str, times: int = 1) -> None:
        what = f"{event} on pod {name}, {times} times"
        await eventually(lambda: self.count(name, event) >= times, what, seconds=COMMAND_SECONDS)

    async def occupy(self, *names: str) -> None:
        """Submit jobs, one after another is taken, until each of these pods draws one."""
        while not all(self.count(name, "generation_started") for name in names):
            await self.submit()
            await eventually(self._all_claimed, "the claim of a job", seconds=COMMAND_SECONDS)

    def _all_claimed(self) -> bool:
        return sum(self.count(name, "job_claimed") for name in self.pods) >= len(self.jobs)

    async def all_over(self) -> None:
        await eventually(lambda: not self.far.unfinished(), "the end of every job", seconds=COMMAND_SECONDS)

    def completed(self, name: str) -> set[str]:
        return {event["job_id"] for event in self.events(name) if event["event"] == "job_completed"}

    def drawing(self, name: str) -> str:
        """The job that the slow worker of this pod has begun."""
        return str([event for event in self.events(name) if event["event"] == "generation_started"][-1]["job_id"])

    async def evidence(self) -> Evidence:
        far, pods = self.far, self.pods.values()
        left: list[Process] = [process for pod in pods for process in pod.sweep()]
        stored = [(row["bucket_id"], row["name"]) for row in far.rows("objects")]
        return Evidence(
            jobs=self.jobs,
            rows={row["id"]: row for row in far.rows("jobs")},
            callbacks=far.rows("callbacks"),
            image_rows=far.rows("images"),
            events=sorted((event for name in self.pods for event in self.events(name)), key=lambda event: event["at"]),
            processes=[process for pod in pods for process in pod.processes.values()],
            uploaded=[],
            late_reports=[],
            files={place: far.backend.file(*place) for place in stored},
            waiting=await far.waiting(),
            held=await far.held(),
            dead=await far.dead(),
            stray_lines=[line for pod in pods for line in pod.log_file.stray],
            left_processes=left,
            odd_exits=[],
        )


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    several = folder / "several"
    several.mkdir()
    (several / "workers.toml").write_text(SEVERAL)
    own = {"a": SLOW, "b": SLOW, "c": {"OURVIDZ_CONFIG_DIR": str(several), "STEP_SECONDS": "0.02"}}
    with RedisServer() as redis, bridge() as lan:
        backend = EmbeddedBackend(
            data=folder / "backend",
            catalogue=parse_catalogue(JOB_TYPES.read_text()),
            host=lan.host if lan else LOOPBACK,
            redis_url=redis.url,
        )
        await backend.start()
        try:
            async with links(list(own), lan, backend.url) as wires:
                pods = {
                    name: Pod(
                        name,
                        folder / f"pod-{name}",
                        {
                            **{key: link.address(value) for key, value in backend.environment().items()},
                            **QUICK,
                            **own[name],
                        },
                        command=(*link.command, *ORCHESTRATOR),
                    )
                    for name, link in wires.items()
                }
                try:
                    yield Fleet(FarSide(backend, ()), pods, wires)
                finally:
                    for pod in pods.values():
                        pod.sweep()
        finally:
            await backend.stop()


def test_a_pod_is_cut_off_and_another_one_dies(tmp_path: Path) -> None:
    asyncio.run(_cut_off_and_dead(tmp_path))


async def _cut_off_and_dead(folder: Path) -> None:
    async with asyncio.timeout(COMMAND_SECONDS), fleet(folder) as scene:
        pods = scene.pods
        for pod in pods.values():
            pod.start()
        for name in ("a", "b"):
            await scene.saw(name, "models_loaded")
        await scene.occupy("a", "b")
        begun = {scene.drawing("a"), scene.drawing("b")}
        done = scene.count("a", "job_completed")

        await scene.links["a"].cut()
        pods["b"].lose_machine()
        await scene.submit(BACKLOG)
        await scene.saw("a", "worker_fenced")
        await scene.all_over()
        assert scene.count("a", "job_completed") == done, "whoever is cut off delivers nothing"
        await eventually(lambda: begun <= scene.completed("c"), "another pod doing what the two had begun")

        await scene.links["a"].mend()
        assert await asyncio.to_thread(pods["c"].stop) == 0
        await scene.submit(steps=1)
        await scene.all_over()
        await eventually(lambda: scene.count("a", "job_completed") == done + 1, "a mended pod taking jobs again")
        assert await asyncio.to_thread(pods["a"].stop) == 0

        evidence = await scene.evidence()
        verdict = judge(evidence)
        assert not any(verdict.violations.values()), verdict.violations
        reports = [(call["job_id"], call["status"]) for call in evidence.callbacks if call["answer_status"] == 200]
        assert all(reports.count((job.id, "completed")) == 1 for job in scene.jobs), "each is completed once"

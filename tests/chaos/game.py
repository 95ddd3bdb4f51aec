"""One run: jobs go in while pods and network suffer, then everything calms down and the evidence is gathered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ourvidz_worker.cli.recorded import sample_picture
from ourvidz_worker.runtime.courier import SECOND_LOOKS
from tests.chaos.far_side import FarSide, far_side
from tests.chaos.judge import Evidence
from tests.chaos.mischief import Mischief
from tests.chaos.plan import REFERENCE, Kind, Planned, plan
from tests.chaos.pods import Pod

POD_NAMES = ("a", "b")
LOOK_SECONDS = 0.05
BACKLOG = 24
SETTLED_SECONDS = 1.0
LATE_ROW_SECONDS = 2.0
CANCEL_SECONDS = "86400"
EXPECTED_EXITS = (0, -9, -15)  # -15: told to stop before it could listen to signals


@dataclass(frozen=True, slots=True)
class Options:
    """`pause_seconds` is the mean time between two blows, `calm_seconds` how long the rest may take after the last."""

    jobs: int
    seed: int
    folder: Path
    lease_seconds: int = 6
    pause_seconds: float = 2.0
    moment_share: float = 0.02
    calm_seconds: float = 240.0

    def environment(self) -> dict[str, str]:
        """Short times, so that what takes minutes on a real pod takes seconds here."""
        return {
            "OURVIDZ_MODELS": "testcard",
            "OURVIDZ_LEASE": str(self.lease_seconds),
            "OURVIDZ_REAP_INTERVAL": "3",
            "OURVIDZ_SDXL_POLL": "0.2",
            "OURVIDZ_WAN_POLL": "0.2",
            "OURVIDZ_SDXL_RESTART_DELAY": "0.1",
            "OURVIDZ_WAN_RESTART_DELAY": "0.1",
            "OURVIDZ_RESTART_LIMIT": "1000000",
            "OURVIDZ_HEALTHY_AFTER": "0.5",
            "OURVIDZ_GRACE_PERIOD": "1",
            "OURVIDZ_SILENCE_LIMIT": "8",
            "OURVIDZ_SPOOL_RESERVE": "0",
        }


@dataclass(slots=True)
class Scene:
    """A run as it stands; `phase` is for the person watching."""

    options: Options
    far: FarSide
    pods: dict[str, Pod]
    mischief: Mischief
    begun: float = field(default_factory=time.monotonic)
    jobs: list[Planned] = field(default_factory=list)
    phase: str = "pods start"
    busy_seconds: float = 0.0

    @property
    def over(self) -> int:
        return len(self.jobs) - self.far.unfinished()

    @property
    def commands(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for proxy in self.far.proxies:
            counts += proxy.counts
        return counts

    @property
    def faults(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for proxy in self.far.proxies:
            for (_, fault), times in proxy.injected.items():
                counts[fault] += times
        return counts


class NotSettled(AssertionError):
    """Jobs were still under way when the time after the last blow was used up."""


async def play(options: Options, watch: Callable[[Scene], None]) -> tuple[Scene, Evidence]:
    """Run to the end; `watch` is called many times a second."""
    async with _scene(options) as scene:
        try:
            await _until(scene, watch, lambda: _ready(scene), seconds=300, what="the workers to be ready")
            await _busy_time(scene, watch)
            await _calm(scene, watch)
        finally:
            scene.phase = "pods stop"
            await asyncio.gather(*(asyncio.to_thread(pod.stop) for pod in scene.pods.values()))
            _look(scene, watch, restart=False)
        return scene, await _evidence(scene)


@asynccontextmanager
async def _scene(options: Options) -> AsyncIterator[Scene]:
    async with far_side(options.folder / "backend", proxies=len(POD_NAMES), seed=options.seed) as far:
        await far.backend.place_reference(*REFERENCE, sample_picture(), "image/png")
        proxies = dict(zip(POD_NAMES, far.proxies, strict=True))
        pods = {
            name: Pod(name, options.folder / f"pod-{name}", {**far.environment(proxy), **options.environment()})
            for name, proxy in proxies.items()
        }
        mischief = Mischief(
            pods,
            proxies,
            seed=options.seed,
            lease_seconds=options.lease_seconds,
            pause_seconds=options.pause_seconds,
            moment_share=options.moment_share,
        )
        try:
            for pod in pods.values():
                pod.start()
            yield Scene(options, far, pods, mischief)
        finally:
            for pod in pods.values():
                pod.sweep()


async def _busy_time(scene: Scene, watch: Callable[[Scene], None]) -> None:
    """Jobs and blows, until few jobs are left."""
    scene.phase = "chaos"
    begun = time.monotonic()
    linking: set[asyncio.Task[None]] = set()
    blows = asyncio.create_task(scene.mischief.run())
    try:
        for job in plan(scene.options.jobs, scene.options.seed):
            while scene.far.unfinished() >= BACKLOG:
                await _tick(scene, watch, blows)
            scene.jobs.append(job)
            await _submit(scene, job, linking)
        while scene.far.unfinished() > BACKLOG // 4:
            await _tick(scene, watch, blows)
    finally:
        blows.cancel()
        await asyncio.gather(*linking)
        scene.busy_seconds = time.monotonic() - begun


async def _submit(scene: Scene, job: Planned, linking: set[asyncio.Task[None]]) -> None:
    backend = scene.far.backend
    scene.mischief.expect(job)
    if not job.kind.has_row:
        await scene.far.redis("LPUSH", job.queue, job.element)
        return
    if job.kind is Kind.CANCELLED:
        await scene.far.redis("SET", f"worker:cancel:{job.id}", "1", "EX", CANCEL_SECONDS)
    await backend.submit(job.payload, link=job.kind is not Kind.LATE_ROW)
    if job.kind is Kind.LATE_ROW:

        async def link() -> None:
            await asyncio.sleep(LATE_ROW_SECONDS)
            backend.link(job.id)

        linking.add(asyncio.create_task(link()))


async def _calm(scene: Scene, watch: Callable[[Scene], None]) -> None:
    """Faults end, and what is left comes to its end; what does not shows in the evidence."""
    scene.phase = "calm"
    await scene.mischief.calm_down()
    begun = quiet_since = time.monotonic()
    while (now := time.monotonic()) - begun < scene.options.calm_seconds and now - quiet_since < SETTLED_SECONDS:
        await _tick(scene, watch, None)
        busy = any((await scene.far.waiting()).values()) or await scene.far.held()
        repairing = scene.far.undone() and now - begun < SECOND_LOOKS[-1] + SETTLED_SECONDS
        if busy or repairing or any(proxy.under_way for proxy in scene.far.proxies):
            quiet_since = now


async def _tick(scene: Scene, watch: Callable[[Scene], None], blows: asyncio.Task[None] | None) -> None:
    if blows and blows.done():
        blows.result()  # a mistake of ours, not of the pods
    _look(scene, watch, restart=True)
    await asyncio.sleep(LOOK_SECONDS)


def _look(scene: Scene, watch: Callable[[Scene], None], *, restart: bool) -> None:
    for pod in scene.pods.values():
        for event in pod.read_log():
            scene.mischief.relieve(event)
        if restart:
            pod.restart_if_ended()
    watch(scene)


async def _until(
    scene: Scene, watch: Callable[[Scene], None], happened: Callable[[], bool], *, seconds: float, what: str
) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise NotSettled(f"{what} took longer than {seconds:g} s; the logs are in {scene.options.folder}")
        await _tick(scene, watch, None)


def _ready(scene: Scene) -> bool:
    return all(pod.ready for pod in scene.pods.values())


async def _evidence(scene: Scene) -> Evidence:
    far, pods = scene.far, scene.pods.values()
    left = [process for pod in pods for process in pod.sweep()]
    waiting, held, dead = await far.waiting(), await far.held(), await far.dead()
    events = sorted((event for pod in pods for event in pod.events), key=lambda event: event["at"])
    stored = [(row["bucket_id"], row["name"]) for row in far.rows("objects")]
    return Evidence(
        jobs=scene.jobs,
        rows={row["id"]: row for row in far.rows("jobs")},
        callbacks=far.rows("callbacks"),
        image_rows=far.rows("images"),
        events=events,
        processes=[process for pod in pods for process in pod.processes.values()],
        uploaded=scene.mischief.uploaded,
        late_reports=scene.mischief.late_reports,
        files={place: far.backend.file(*place) for place in stored},
        waiting=waiting,
        held=held,
        dead=dead,
        stray_lines=[line for pod in pods for line in pod.log_file.stray],
        left_processes=left,
        odd_exits=_odd_exits(scene),
    )


def _odd_exits(scene: Scene) -> list[str]:
    codes = [(pod, code) for pod in scene.pods.values() for code in pod.exit_codes if code not in EXPECTED_EXITS]
    return [f"an orchestrator of pod {pod.name} ended with exit code {code}" for pod, code in codes]


def summary(scene: Scene) -> dict[str, Any]:
    """What was done to the pods and what it took, for the report."""
    seconds = time.monotonic() - scene.begun
    commands = scene.commands
    jobs = len(scene.jobs)
    return {
        "seconds": round(seconds, 1),
        "seconds with chaos": round(scene.busy_seconds, 1),
        "jobs per second with chaos": round(jobs / scene.busy_seconds, 2) if scene.busy_seconds else None,
        "blows": dict(sorted(scene.mischief.done.items())),
        "faults": dict(sorted(scene.faults.items())),
        "requests": dict(sorted(commands.items())),
        "Redis commands per job": round(
            sum(count for area, count in commands.items() if area.startswith("REDIS ")) / max(jobs, 1), 2
        ),
    }

"""A real `kill -9` at every named point of a job's road: no job is lost, and none is delivered twice unnoticed."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ourvidz_worker.runtime.spool import Spool
from tests.acceptance.test_running_workers import Product, recorded
from tests.crash.gate import Gate, Moment
from tests.crash.pod import Pod
from tests.crash.points import HEADER, POINTS, Point, Victim, markdown
from tests.support.commands import COMMAND_SECONDS, ROOT
from tests.support.embedded import RunningBackend
from tests.support.fault_proxy import RunningProxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

LAST_LINES = ("job_completed", "job_already_over")
CASES = [(point, victim) for victim in Victim for point in POINTS]
LOOKS = 5


class Scene:
    """A product, a pod, and a gate between them."""

    def __init__(self, product: Product, pod: Pod, gate: Gate) -> None:
        self.product = product
        self.pod = pod
        self.gate = gate

    def submit(self, images: int) -> str:
        payload = recorded("sdxl_image_fast.seed_6", id=str(uuid.uuid4()))
        payload["config"]["num_images"] = payload["metadata"]["num_images"] = images
        return self.product.submit(payload)

    def crash(self, point: Point, victim: Victim) -> str:
        """Submit a job and kill at that point of its road; returns the job's id."""
        match point.seen:
            case Moment() as moment:
                return self._crash_on_the_wire(moment, victim, point.images)
            case "step":
                return self._crash_between_steps(victim, point.images)
            case "pictures":
                return self._crash_while_writing(victim, point.images)

    def _crash_on_the_wire(self, moment: Moment, victim: Victim, images: int) -> str:
        with self.gate.holding(moment) as hold:
            job_id = self.submit(images)
            wait_until(lambda: hold.reached, f"{moment}", seconds=COMMAND_SECONDS)
            self.kill(victim)
            if victim is Victim.ORCHESTRATOR:
                self.pod.wait_until_orphaned()
        assert all((exchange.status is None) == (moment.phase == "arrived") for exchange in hold.held)
        return job_id

    def _crash_between_steps(self, victim: Victim, images: int) -> str:
        with self.pod.held_in_mid_step():
            job_id = self.submit(images)
            wait_until(lambda: self.pod.is_mid_step(job_id), "a denoising step", seconds=COMMAND_SECONDS)
            self.kill(victim)
            if victim is Victim.ORCHESTRATOR:
                self.pod.wait_until_orphaned()
        return job_id

    def _crash_while_writing(self, victim: Victim, images: int) -> str:
        for _ in range(LOOKS):
            job_id = self.submit(images)
            wait_until(partial(self.pod.has, f"results/*{job_id}*/0.png"), "a picture", seconds=COMMAND_SECONDS)
            with self.pod.stopped_worker():
                if not self.pod.has(f"results/*{job_id}*/result.json"):
                    self.kill(victim)
                    return job_id
            self.over(job_id)  # this look came too late
        raise AssertionError(f"{LOOKS} looks into the spool came too late")

    def kill(self, victim: Victim) -> None:
        if victim is Victim.WORKER:
            self.pod.kill_worker()
        else:
            self.pod.kill_orchestrator()

    def over(self, job_id: str) -> dict[str, Any]:
        """The job's row once it is completed, nothing of it is left in Redis, and no process is about to end."""
        row = self.product.over(job_id)
        wait_until(lambda: not self.product.redis("KEYS", "sdxl_queue*"), "an empty Redis")
        self.pod.wait_for_orphans()
        self.pod.wait_until_ready()
        return row

    def pictures(self, job_id: str) -> list[Image.Image]:
        """Every picture in Storage that belongs to the job, decoded; thumbnails are none."""
        backend = self.product.backend.backend
        objects = backend._database.select("objects", "name LIKE ?", [f"%{job_id}%.png"])
        files = [backend.file(row["bucket_id"], row["name"]) for row in objects]
        return [Image.open(file, formats=["PNG"]).convert("RGB") for file in files]

    @contextmanager
    def clean_unless_it_passes(self) -> Iterator[None]:
        """What one failing case leaves behind is not to fail the next one."""
        try:
            yield
        except BaseException:
            sys.stderr.write(self.pod.log())
            self.pod.stop()
            self.product.backend.clear()
            Spool(self.pod.spool).sweep(0)
            raise


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("crash")
    with (
        RedisServer() as redis,
        RunningBackend(folder / "backend", redis_url=redis.url) as backend,
        RunningProxy(backend.url) as proxy,
    ):
        environment = {
            name: value.replace(backend.url, proxy.proxy.url) for name, value in backend.environment().items()
        }
        product, pod = Product(backend), Pod(folder, environment)
        try:
            yield Scene(product, pod, Gate(proxy))
        finally:
            pod.stop()
            product.close()


@pytest.mark.parametrize(
    ("point", "victim"), CASES, ids=lambda value: value.name if isinstance(value, Point) else str(value)
)
def test_a_crash_loses_no_job(point: Point, victim: Victim, scene: Scene) -> None:
    expected = point.outcome(victim)
    with scene.clean_unless_it_passes():
        scene.pod.run()
        job_id = scene.crash(point, victim)
        row = scene.over(job_id)
        if not expected.copy_kept:
            wait_until(lambda: any(scene.pod.count(event, job_id) for event in LAST_LINES), "the last line on the job")
        product = scene.product
        reports = product.reports(job_id)
        assert scene.pod.count("generation_started", job_id) == expected.generations
        assert product.last_metadata(job_id)["attempt"] == expected.attempt
        assert reports[-expected.reports :] == ["completed"] * expected.reports
        assert set(reports[: -expected.reports]) <= {"processing"}
        assert len(row["assets"]) == point.images
        assert [picture.size for picture in scene.pictures(job_id)] == [(1024, 1024)] * point.images
        assert Spool(scene.pod.spool).sweep(0) == ([job_id] if expected.copy_kept else [])
        # A worker that has just started may be proving the disk, which takes a file for a moment.
        wait_until(lambda: scene.pod.files() == [], "an empty spool")


def test_the_readme_has_this_table() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    begins = [number for number, line in enumerate(lines) if line.startswith(f"| {HEADER[0]} |")]
    assert len(begins) == 1, f"put the output of 'python -m tests.crash' into README.md:\n{markdown()}"
    table = markdown().splitlines()
    assert lines[begins[0] : begins[0] + len(table)] == table

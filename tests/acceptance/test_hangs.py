"""Real workers that hang, and orchestrators that are killed: no process stays behind, and no job is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.control import ExitCode
from tests.acceptance.test_running_workers import Product, environment, recorded
from tests.support.commands import COMMAND_SECONDS, RunningCommand
from tests.support.embedded import RunningBackend
from tests.support.processes import is_gone
from tests.support.waiting import wait_until

ORCHESTRATOR = ["orchestrator.py"]
TROUBLED = ["-m", "tests.support.troubled_orchestrator"]
ONLY_SDXL = {"OURVIDZ_WORKERS": "sdxl", "OURVIDZ_SDXL_RESTART_DELAY": "0.1"}


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    with RunningBackend(tmp_path / "backend") as backend:
        product = Product(backend)
        yield product
        product.close()


class Pod:
    """The environment of an orchestrator, and what its status file says of the SDXL worker."""

    def __init__(self, product: Product, folder: Path, **changes: str) -> None:
        self._status_file = folder / "status.json"
        status = {"OURVIDZ_STATUS_FILE": str(self._status_file)}
        self.environment = environment(product, folder, **ONLY_SDXL, **status, **changes)

    def worker(self) -> dict[str, Any]:
        if not self._status_file.exists():
            return {"state": "", "pid": None, "jobs": [], "problem": None}
        found: dict[str, Any] = json.loads(self._status_file.read_text())["workers"]["sdxl"]
        return found

    def wait_for_a_step(self) -> None:
        wait_until(lambda: self._step() > 1, "the first steps", seconds=COMMAND_SECONDS)

    def _step(self) -> int:
        return max((int(job["step"]) for job in self.worker()["jobs"]), default=0)


def reason_of(orchestrator: RunningCommand, event: str) -> str:
    """Of the first such line of the log."""
    reason: str = next(line["reason"] for line in orchestrator.events if line["event"] == event)
    return reason


def workers_of(orchestrator: RunningCommand) -> list[int]:
    return [line["pid"] for line in orchestrator.events if line["event"] == "worker_started"]


def test_a_worker_paused_in_a_generation_is_replaced_and_its_job_completed(product: Product, tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"  # so that it is not over before it is paused
    pod = Pod(product, tmp_path, OURVIDZ_SILENCE_LIMIT="4", STUCK=str(stuck))
    job_id = product.submit(recorded("sdxl_image_fast"))
    with RunningCommand(TROUBLED, pod.environment) as orchestrator:
        wait_until(stuck.exists, "the third step", seconds=COMMAND_SECONDS)
        pid = pod.worker()["pid"]
        os.kill(pid, signal.SIGSTOP)
        product.over(job_id)
        assert is_gone(pid)
        assert product.last_metadata(job_id)["attempt"] == 2
        assert orchestrator.stop() == 0
    assert reason_of(orchestrator, "worker_ended") == "was killed by SIGKILL after it was silent for 4 s"
    assert product.nothing_left("sdxl_queue")


def test_a_worker_stuck_in_a_step_is_replaced_and_its_job_completed(product: Product, tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"
    pod = Pod(product, tmp_path, OURVIDZ_STEP_LIMIT="3", STEP_SECONDS="0.12", STUCK=str(stuck))
    job_id = product.submit(recorded("sdxl_image_fast"))
    with RunningCommand(TROUBLED, pod.environment) as orchestrator:
        wait_until(lambda: "no step" in (pod.worker()["problem"] or ""), "the finding", seconds=COMMAND_SECONDS)
        product.over(job_id)
        assert stuck.exists()
        assert product.last_metadata(job_id)["attempt"] == 2
        assert orchestrator.stop() == 0
    hang = f"it made no step for 3 s at step 3 of 15 of job {job_id}"
    assert reason_of(orchestrator, "worker_hangs") == hang
    assert reason_of(orchestrator, "worker_ended") == f"was killed by SIGKILL after {hang}"
    assert product.nothing_left("sdxl_queue")


def test_a_killed_orchestrator_takes_its_idle_workers_along(product: Product, tmp_path: Path) -> None:
    with RunningCommand(ORCHESTRATOR, environment(product, tmp_path)) as orchestrator:
        orchestrator.wait_for("models_loaded", worker="wan")
        workers = workers_of(orchestrator)
        assert len(workers) == 2
        orchestrator.stop(signal.SIGKILL)
        wait_until(lambda: all(map(is_gone, workers)), "the end of both workers")


def test_a_killed_orchestrator_takes_a_busy_worker_along_and_the_next_completes_its_job(
    product: Product, tmp_path: Path
) -> None:
    """It stops at its next step, whatever the grace period, and hands the job back: the card is free."""
    pod = Pod(product, tmp_path, OURVIDZ_GRACE_PERIOD="600", STEP_SECONDS="0.5")
    job_id = product.submit(recorded("sdxl_image_fast"))
    element = product.redis("LINDEX", "sdxl_queue", "0")
    with RunningCommand(TROUBLED, pod.environment) as orchestrator:
        pod.wait_for_a_step()
        (worker,) = workers_of(orchestrator)
        orchestrator.stop(signal.SIGKILL)
        wait_until(lambda: is_gone(worker), "the end of the worker")
    assert orchestrator.saw("supervisor_gone", worker="sdxl")
    assert orchestrator.saw("job_handed_back")
    (waiting,) = product.redis("LRANGE", "sdxl_queue", "0", "-1")
    assert waiting == element or json.loads(waiting)["attempt"] == 1
    with RunningCommand(TROUBLED, {**pod.environment, "STEP_SECONDS": "0"}) as orchestrator:
        product.over(job_id)
        assert product.last_metadata(job_id)["attempt"] == 1
        assert orchestrator.stop() == 0
    assert product.nothing_left("sdxl_queue")


def test_a_killed_orchestrator_takes_a_stuck_worker_along(product: Product, tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"
    pod = Pod(product, tmp_path, STUCK=str(stuck), LAST_SECONDS="0.5")
    product.submit(recorded("sdxl_image_fast"))
    with RunningCommand(TROUBLED, pod.environment) as orchestrator:
        wait_until(stuck.exists, "the stuck step", seconds=COMMAND_SECONDS)
        (worker,) = workers_of(orchestrator)
        orchestrator.stop(signal.SIGKILL)
        wait_until(lambda: is_gone(worker), "the end of the worker")
    assert len(product.redis("KEYS", "sdxl_queue:held:*")) == 1, "a reaper finds the job there"


def test_a_fenced_worker_ends_also_under_a_stuck_step(product: Product, tmp_path: Path) -> None:
    stuck = tmp_path / "stuck"
    trouble = {"STUCK": str(stuck), "LAST_SECONDS": "0.5", "OURVIDZ_LEASE": "6"}
    product.submit(recorded("sdxl_image_fast"))
    command = ["-m", "tests.support.troubled_worker", "sdxl"]
    with RunningCommand(command, environment(product, tmp_path, **trouble)) as worker:
        wait_until(stuck.exists, "the stuck step", seconds=COMMAND_SECONDS)
        (lease,) = product.redis("KEYS", "worker:lease:*")
        product.redis("DEL", lease)
        assert worker.process.wait(timeout=COMMAND_SECONDS) == ExitCode.FENCED
    assert worker.saw("fenced")

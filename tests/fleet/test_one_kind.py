"""Several workers of one kind in one pod: they share the spool, the models and the queue, and each does its part."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

from tests.acceptance.test_running_workers import Product, recorded
from tests.support.commands import COMMAND_SECONDS, RunningCommand
from tests.support.embedded import RunningBackend
from tests.support.waiting import wait_until

WORKERS = '[[workers]]\nkind = "sdxl"\ndevice = "cpu"\ncount = 2\n'
JOBS = 4


def test_one_goes_on_where_the_other_one_died(tmp_path: Path) -> None:
    """Both draw at once; what the one held that is killed is done by whoever comes first, and nothing is left."""
    (tmp_path / "workers.toml").write_text(WORKERS)
    with RunningBackend(tmp_path / "backend") as backend:
        environment = {
            **backend.environment(),
            "OURVIDZ_MODELS": "testcard",
            "OURVIDZ_CONFIG_DIR": str(tmp_path),
            "OURVIDZ_SPOOL": str(tmp_path / "spool"),
            "OURVIDZ_STATUS_FILE": str(tmp_path / "status.json"),
            "OURVIDZ_SDXL_POLL": "0.05",
            "OURVIDZ_SDXL_RESTART_DELAY": "0.1",
            "STEP_SECONDS": "0.2",
        }
        with RunningCommand(["-m", "tests.support.troubled_orchestrator"], environment) as command:
            for worker in ("sdxl", "sdxl-2"):
                command.wait_for("models_loaded", worker=worker)
            product = Product(backend)
            jobs = [product.submit(_job()) for _ in range(JOBS)]
            for worker in ("sdxl", "sdxl-2"):
                command.wait_for("generation_started", worker=worker)
            started = [event for event in command.events if event["event"] == "worker_started"]
            assert [(event["worker"], event["kind"], event["device"]) for event in started] == [
                ("sdxl", "sdxl", "cpu"),
                ("sdxl-2", "sdxl", "cpu"),
            ]
            os.kill(started[1]["pid"], signal.SIGKILL)
            for job_id in jobs:
                product.over(job_id)
                assert product.reports(job_id).count("completed") == 1
            wait_until(lambda: product.nothing_left("sdxl_queue"), "the last acknowledgement")
            wait_until(lambda: _files(tmp_path / "spool") == [], "an empty spool")
            command.wait_for("models_loaded", worker="sdxl-2")
            wait_until(lambda: _states(tmp_path / "status.json") == {"READY"}, "both workers", seconds=COMMAND_SECONDS)
            product.close()
            assert command.stop() == 0


def _job() -> dict[str, Any]:
    payload = recorded("sdxl_image_fast", id=str(uuid.uuid4()))
    payload["config"] |= {"resolution": "256*256", "steps": 5, "num_images": 1}
    return payload


def _files(spool: Path) -> list[Path]:
    """What waits for its delivery; a report that is looked after again is none."""
    return [path for path in (spool / "results").rglob("*") if path.is_file()]


def _states(file: Path) -> set[str]:
    workers = json.loads(file.read_text())["workers"]
    return {worker["state"] for worker in workers.values() if worker["kind"] == "sdxl"}

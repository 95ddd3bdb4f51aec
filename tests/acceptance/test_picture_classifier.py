"""An operator's picture classifier in a real worker process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import COMMAND_SECONDS, PAYLOADS, RunningCommand, run_command
from tests.support.embedded import RunningBackend
from tests.support.waiting import wait_until

SETTING = "OURVIDZ_PICTURE_CLASSIFIER"


@pytest.fixture
def quick(tmp_path: Path) -> dict[str, str]:
    return {"OURVIDZ_MODELS": "testcard", "OURVIDZ_SDXL_POLL": "0.05", "OURVIDZ_SPOOL": str(tmp_path / "spool")}


def test_what_it_refuses_is_not_delivered(tmp_path: Path, quick: dict[str, str]) -> None:
    """The test card is not dark, and this classifier lets only dark pictures through."""
    payload = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text())
    with RunningBackend(tmp_path / "backend") as running:
        environment = {**running.environment(), **quick, SETTING: "tests.policy.classifiers:Dark"}
        job_id = running.run(running.backend.submit(payload))

        def failed() -> bool:
            async def look() -> dict[str, Any] | None:
                return running.backend.job(job_id)

            row = running.run(look())
            return row is not None and row["status"] == "failed"

        with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment):
            wait_until(failed, "the refusal", seconds=COMMAND_SECONDS)
        metadata = json.loads(running.backend.rows("callbacks", job_id)[-1]["body"])["metadata"]
        assert (metadata["error_type"], metadata["retryable"]) == ("content_policy", False)
        assert running.backend.rows("workspace_assets", job_id) == []


def test_one_that_cannot_be_loaded_keeps_the_worker_from_starting(tmp_path: Path, quick: dict[str, str]) -> None:
    with RunningBackend(tmp_path / "backend") as running:
        environment = {**running.environment(), **quick, SETTING: "tests.policy.classifiers:WithoutWeights"}
        result = run_command("sdxl", environment=environment)
        assert result.returncode == 78
        assert "weights.bin is missing" in result.stderr
        findings = json.loads(run_command("doctor", "--json", environment=environment).stdout)["findings"]
    (problem,) = [finding for finding in findings if finding["area"] == "classifier"]
    assert (problem["ok"], problem["fatal"]) == (False, True)
    assert problem["cure"].startswith("name a function")

"""Every recorded payload through the real orchestrator: the test card for all, tiny models for one of each type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.contract.envelope import open_delivery
from ourvidz_worker.contract.parse import parse_job
from tests.support.commands import PAYLOADS, ROOT, run_command

CATALOGUE = parse_catalogue((ROOT / "configs" / "job_types.toml").read_text())
ALL = sorted(PAYLOADS.glob("*.json"))
ONE_OF_EACH = [PAYLOADS / f"{name}.json" for name in CATALOGUE]
FEW_STEPS = 4  # each step of a model is like the one before
JOB_KEYS = {"id", "type", "status", "attempt", "seconds", "assets", "metadata", "error"}
ASSET_KEYS = {"bucket", "key", "bytes", "media_type", "width", "height", "frames"}
PRODUCT_METADATA = {
    "generation_time",
    "expected_time",
    "performance_ratio",
    "vram_used_gb",
    "vram_total_gb",
    "vram_utilization",
    "seed",
    "seeds",
    "num_images",
    "sample_steps",
    "sample_guide_scale",
    "model_type",
    "worker_version",
    "attempt",
}


def replayed(files: list[Path], models: str, report: Path, *options: str, seconds: float) -> list[dict[str, Any]]:
    environment = {"OURVIDZ_MODELS": models, "OURVIDZ_SDXL_POLL": "0.2", "OURVIDZ_WAN_POLL": "0.2"}
    result = run_command(
        "replay", *map(str, files), "--report", str(report), *options, environment=environment, seconds=seconds
    )
    assert result.returncode == 0, result.stderr[-4000:]
    document = json.loads(report.read_text())
    assert document["ok"] is True
    jobs: list[dict[str, Any]] = document["jobs"]
    return jobs


def check_job(file: Path, job: dict[str, Any]) -> None:
    """What came out is what the payload asked for."""
    asked = parse_job(open_delivery(file.read_text()), CATALOGUE)
    assert set(job) == JOB_KEYS
    assert (job["id"], job["type"], job["status"], job["error"]) == (asked.id, asked.type.name, "completed", None)
    assert len(job["assets"]) == asked.num_images
    for asset in job["assets"]:
        assert set(asset) == ASSET_KEYS
        assert (asset["width"], asset["height"]) == (asked.width, asked.height)
        assert asset["frames"] == (asked.num_frames if asked.is_video else 1)
        assert asset["media_type"] == asked.type.media_type
        assert asset["bucket"] == asked.bucket
        assert asset["key"].startswith(f"{asked.user_id}/{asked.id}")
        assert 0 < asset["bytes"] <= asked.type.bucket_limit_bytes
    metadata = job["metadata"]
    assert set(metadata) >= PRODUCT_METADATA
    assert metadata["sample_steps"] == asked.num_inference_steps
    assert metadata["seeds"] == [metadata["seed"] + index for index in range(asked.num_images)]
    assert metadata["model_type"] == asked.type.model_type
    if asked.seed is not None:
        assert metadata["seed"] == asked.seed
    if asked.is_video:
        assert (metadata["frame_num"], metadata["requested_frame_num"]) == (81, 83)


@pytest.mark.parametrize("profile", ["2025-07", "2026-02"])
def test_every_recorded_payload_completes_on_the_test_card(profile: str, tmp_path: Path) -> None:
    jobs = replayed(ALL, "testcard", tmp_path / "report.json", "--profile", profile, seconds=240)
    for file, job in zip(ALL, jobs, strict=True):
        check_job(file, job)


def in_few_steps(file: Path, folder: Path) -> Path:
    payload = json.loads(file.read_text())
    payload["config"] |= {"steps": FEW_STEPS, "sample_steps": FEW_STEPS}
    copy = folder / file.name
    copy.write_text(json.dumps(payload))
    return copy


def test_one_of_each_type_completes_on_tiny_models(tmp_path: Path) -> None:
    files = [in_few_steps(file, tmp_path) for file in ONE_OF_EACH]
    jobs = replayed(files, "tiny", tmp_path / "report.json", seconds=420)
    for file, job in zip(files, jobs, strict=True):
        check_job(file, job)
        assert job["metadata"]["sample_steps"] == FEW_STEPS

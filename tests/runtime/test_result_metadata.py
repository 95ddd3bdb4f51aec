"""`metadata` that the product asks for (contract section 5), key by key."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ourvidz_worker import __version__
from ourvidz_worker.errors import (
    BackendRefused,
    BadJob,
    ContentRefused,
    DeadlineExceeded,
    GenerationFailed,
    OutOfMemory,
    OutputInvalid,
    ReferenceUnusable,
    WorkerError,
)
from ourvidz_worker.ports import Generation, GenerationRequest, GpuMemory
from ourvidz_worker.runtime.enhancement import EnhancedPrompt
from ourvidz_worker.runtime.result_metadata import failure_metadata, job_metadata, result_metadata
from tests.runtime.scene import job_of, payload


def metadata_of(
    document: dict[str, Any],
    *,
    seconds: float = 6.0,
    memory: GpuMemory | None = None,
    enhancement: EnhancedPrompt | None = None,
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    request = GenerationRequest(job_of(document), prompt="a lighthouse", seed=7)
    generation = Generation(np.zeros((1, 1, 1, 3), np.uint8), details or {})
    return result_metadata(
        request, generation, model_name="m", generation_seconds=seconds, memory=memory, enhancement=enhancement
    )


SDXL_3 = payload("job-1", "sdxl_image_fast", config={"num_images": 3, "seed": 7})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("generation_time", 6.0),
        ("expected_time", 12.0),  # 4 s per image, three images
        ("performance_ratio", 0.5),
        ("vram_used_gb", 12.0),
        ("vram_total_gb", 48.0),
        ("vram_utilization", 0.25),
        ("seed", 7),
        ("seeds", [7, 8, 9]),
        ("num_images", 3),
        ("sample_steps", 15),
        ("sample_guide_scale", 6.0),
        ("model_type", "sdxl"),
        ("worker_version", __version__),
        ("attempt", 1),
    ],
)
def test_every_key_of_a_result(key: str, value: object) -> None:
    assert metadata_of(SDXL_3, memory=GpuMemory(12.0, 48.0))[key] == value


def test_without_a_card_the_memory_is_null_and_not_invented() -> None:
    metadata = metadata_of(SDXL_3)
    assert [metadata[f"vram_{name}"] for name in ("used_gb", "total_gb", "utilization")] == [None, None, None]


@pytest.mark.parametrize(
    ("job_type", "model_type"),
    [
        ("sdxl_image_high", "sdxl"),
        ("image_high", "wan"),
        ("video_fast", "wan"),
        ("image7b_fast_enhanced", "enhanced-7b"),
        ("video7b_high_enhanced", "enhanced-7b"),
    ],
)
def test_the_model_type_is_the_products_name(job_type: str, model_type: str) -> None:
    assert metadata_of(payload("job-1", job_type))["model_type"] == model_type


def test_a_clip_says_how_many_frames_were_asked_for_and_made() -> None:
    """`frame_num` 83 is what producers send, so 81 come out: say so in the result metadata (contract section 2)."""
    metadata = metadata_of(payload("job-1", "video_fast", config={"frame_num": 83}))
    assert (metadata["frame_num"], metadata["requested_frame_num"], metadata["fps"]) == (81, 83, 16)
    assert metadata["num_images"] == 1


def test_a_still_says_nothing_of_frames() -> None:
    assert "frame_num" not in metadata_of(SDXL_3)


def test_the_steps_that_were_really_used_are_reported() -> None:
    document = payload("job-1", "video_fast", config={"sample_steps": 30, "sample_guide_scale": 5.5})
    metadata = metadata_of(document)
    assert (metadata["sample_steps"], metadata["sample_guide_scale"]) == (30, 5.5)


def test_an_enhancement_that_failed_is_said() -> None:
    enhancement = EnhancedPrompt("a lighthouse", enhanced=False, seconds=1.23456, problem="it was empty")
    metadata = metadata_of(payload("job-1", "image7b_fast_enhanced"), enhancement=enhancement)
    assert metadata["prompt_enhanced"] is False
    assert metadata["enhancement_time"] == 1.235
    assert metadata["enhancement_problem"] == "it was empty"


def test_an_engine_adds_its_own_entries_and_cannot_overwrite_ours() -> None:
    metadata = metadata_of(SDXL_3, details={"method": "img2img", "seed": 0})
    assert (metadata["method"], metadata["seed"]) == ("img2img", 7)


def test_metadata_is_json() -> None:
    metadata = metadata_of(SDXL_3, memory=GpuMemory(1.0, 3.0))
    assert json.loads(json.dumps(metadata, allow_nan=False)) == metadata


@pytest.mark.parametrize(
    ("error", "error_type", "retryable"),
    [
        (BadJob("a field is wrong", field="prompt"), "bad_job", False),
        (ContentRefused("refused"), "content_policy", False),
        (ReferenceUnusable("not a picture"), "reference", False),
        (DeadlineExceeded("too long"), "deadline", True),
        (OutOfMemory("full"), "out_of_memory", True),
        (OutputInvalid("damaged"), "invalid_output", True),
        (GenerationFailed("diverged"), "generation", True),
        (BackendRefused("too large"), "backend", False),
        (WorkerError("a bug"), "internal", True),
    ],
)
def test_a_failure_says_its_type_and_whether_a_repeat_may_help(
    error: WorkerError, error_type: str, *, retryable: bool
) -> None:
    metadata = failure_metadata(job_of(SDXL_3), error, attempt=1)
    assert metadata == {
        "model_type": "sdxl",
        "worker_version": __version__,
        "attempt": 1,
        "error_type": error_type,
        "retryable": retryable,
    }


def test_a_payload_that_is_no_job_still_gets_a_failure() -> None:
    metadata = failure_metadata(None, BadJob("type is missing", field="type"), attempt=2)
    assert metadata == {"worker_version": __version__, "attempt": 2, "error_type": "bad_job", "retryable": False}


def test_what_is_known_before_anything_was_drawn() -> None:
    assert job_metadata(job_of(SDXL_3)) == {"model_type": "sdxl", "worker_version": __version__, "attempt": 1}

"""Values of the right type that are still no job: outside their limits, unknown, or unsafe in a path."""

from __future__ import annotations

from typing import Any

import pytest

from ourvidz_worker.contract.fields import MAX_PROSE_CHARACTERS
from ourvidz_worker.contract.parse import MAX_SEED
from tests.contract.samples import CATALOGUE, JOB_ID, parsed, payload, refused


def test_a_prompt_has_a_length_that_is_too_long() -> None:
    longest = "a" * MAX_PROSE_CHARACTERS
    assert parsed(payload(prompt=longest)).prompt == longest
    assert parsed(payload(negative_prompt=longest)).negative_prompt == longest
    assert refused(payload(prompt=longest + "a")).field == "prompt"
    assert refused(payload(prompt="", metadata={"prompt": longest + "a"})).field == "metadata.prompt"
    assert refused(payload(negative_prompt=longest + "a")).field == "negative_prompt"


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**64, "-1", 0.5, "0.5"])
def test_a_seed_that_no_generator_takes_is_refused(seed: object) -> None:
    assert refused(payload(metadata={"seed": seed})).field == "metadata.seed"


@pytest.mark.parametrize("number", [2, 0, 4, 5, 7, -1, 100, "2", 10**300])
@pytest.mark.parametrize("name", CATALOGUE)
def test_num_images_is_one_three_or_six(name: str, number: object) -> None:
    """'Allowed: 1, 3, 6.'"""
    error = refused(payload(name, config={"num_images": number}))
    assert (error.field, error.job_id) == ("config.num_images", JOB_ID)
    assert "must be 1, 3 or 6" in str(error)


@pytest.mark.parametrize("wrong", ["unknown", "", None, "SDXL_IMAGE_FAST", "sdxl_image_fast ", "__class__"])
def test_an_unknown_type_is_refused_with_the_list_of_types(wrong: str | None) -> None:
    error = refused(payload(type=wrong))
    assert (error.field, error.job_id) == ("type", JOB_ID)
    for name in CATALOGUE:
        assert name in str(error)


@pytest.mark.parametrize("wrong", ["../x", "a/../b", "..", "a/b", "a\\b", "a b", "%2e%2e", "a\n", "é", "", None])
def test_a_user_id_that_would_leave_its_folder_is_refused(wrong: str | None) -> None:
    """'anything but letters, digits, `-` and `_` is refused before a path is built.'"""
    error = refused(payload(user_id=wrong))
    assert (error.field, error.job_id) == ("user_id", JOB_ID)


@pytest.mark.parametrize(
    ("name", "config", "field"),
    [
        ("sdxl_image_fast", {"steps": 0}, "config.steps"),
        ("sdxl_image_fast", {"steps": 101}, "config.steps"),
        ("sdxl_image_fast", {"num_inference_steps": 101}, "config.num_inference_steps"),
        ("sdxl_image_fast", {"scheduler": "heun"}, "config.scheduler"),
        ("sdxl_image_fast", {"sampler": "Euler"}, "config.sampler"),
        ("sdxl_image_fast", {"guidance_scale": -0.1}, "config.guidance_scale"),
        ("sdxl_image_fast", {"guidance_scale": 30.5}, "config.guidance_scale"),
        ("sdxl_image_fast", {"resolution": "2056x512"}, "config.resolution"),
        ("sdxl_image_fast", {"resolution": "248x512"}, "config.resolution"),
        ("sdxl_image_fast", {"resolution": "2048x2048"}, "config.resolution"),
        ("sdxl_image_fast", {"resolution": "1020x1024"}, "config.resolution"),
        ("sdxl_image_fast", {"width": 1020, "height": 1024}, "config.width"),
        ("sdxl_image_fast", {"width": 248, "height": 1024}, "config.width"),
        ("sdxl_image_fast", {"width": 1024, "height": 2056}, "config.height"),
        ("sdxl_image_fast", {"width": 1024}, "config.width"),
        ("sdxl_image_fast", {"height": 1024}, "config.height"),
        ("image_fast", {"sample_steps": 101}, "config.sample_steps"),
        ("image_fast", {"sample_guide_scale": 31}, "config.sample_guide_scale"),
        ("image_fast", {"size": "1280*1280"}, "config.size"),
        ("image_fast", {"size": "480*840"}, "config.size"),
        ("image_fast", {"size": "480"}, "config.size"),
        ("image_fast", {"sample_solver": "heun"}, "config.sample_solver"),
        ("image_fast", {"sample_shift": 0}, "config.sample_shift"),
        ("video_fast", {"frame_num": 0}, "config.frame_num"),
        ("video_fast", {"frame_num": 162}, "config.frame_num"),
        ("video_fast", {"frame_num": 80.5}, "config.frame_num"),
    ],
)
def test_a_value_outside_its_limits_is_refused_by_name(name: str, config: dict[str, Any], field: str) -> None:
    error = refused(payload(name, config={"num_images": 1, **config}))
    assert (error.field, error.job_id) == (field, JOB_ID)
    assert str(error).startswith(f"{field} ")


def test_a_refused_scheduler_comes_with_the_list() -> None:
    error = refused(payload(config={"num_images": 1, "scheduler": "heun"}))
    assert str(error).startswith("config.scheduler must be one of euler, euler_a, dpm++_2m, ")
    assert str(error).endswith("got 'heun'")

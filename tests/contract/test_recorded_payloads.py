"""Every payload recorded from the real producer, in every envelope, with the values it must come to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from tests.contract.samples import CATALOGUE, ENVELOPES, RECORDED, USER_ID, parsed

SIGNED = f"http://127.0.0.1:54321/storage/v1/object/sign/reference_images/{USER_ID}/ref.png?token=abc"
STYLE = (("style", SIGNED, 0.85),)
CHARACTER = (("character", SIGNED, 0.5),)
START_END = (("start", SIGNED, 0.85), ("end", f"{SIGNED}2", 0.85))


class Expected(NamedTuple):
    """What a recorded payload means; `frames` are those drawn and those asked for."""

    type: str
    num_images: int
    seed: int | None
    size: tuple[int, int]
    steps: int
    guidance: float
    frames: tuple[int, int] = (1, 1)
    references: tuple[tuple[str, str, float], ...] = ()


SQUARE, PORTRAIT, VIDEO = (1024, 1024), (480, 832), (81, 83)

EXPECTED = {
    "image7b_fast_enhanced": Expected("image7b_fast_enhanced", 1, None, PORTRAIT, 25, 6.5),
    "image7b_fast_enhanced.reference": Expected(
        "image7b_fast_enhanced", 3, 42, PORTRAIT, 25, 6.5, references=CHARACTER
    ),
    "image7b_high_enhanced": Expected("image7b_high_enhanced", 1, None, PORTRAIT, 50, 7.5),
    "image_fast": Expected("image_fast", 1, None, PORTRAIT, 25, 6.5),
    "image_fast.reference": Expected("image_fast", 3, 42, PORTRAIT, 25, 6.5, references=CHARACTER),
    "image_high": Expected("image_high", 1, None, PORTRAIT, 50, 7.5),
    "image_high.reference": Expected("image_high", 3, 42, PORTRAIT, 50, 7.5, references=CHARACTER),
    "sdxl_image_fast": Expected("sdxl_image_fast", 1, None, SQUARE, 15, 6.0),
    "sdxl_image_fast.2026-02": Expected("sdxl_image_fast", 3, 42, SQUARE, 15, 6.0),
    "sdxl_image_fast.image_id": Expected("sdxl_image_fast", 1, None, SQUARE, 15, 6.0),
    "sdxl_image_fast.seed_6": Expected("sdxl_image_fast", 6, 1234567890, SQUARE, 15, 6.0),
    "sdxl_image_fast.style_reference_3": Expected("sdxl_image_fast", 3, None, SQUARE, 15, 6.0, references=STYLE),
    "sdxl_image_high": Expected("sdxl_image_high", 1, None, SQUARE, 25, 7.5),
    "sdxl_image_high.2026-02.reference": Expected(
        "sdxl_image_high",
        1,
        42,
        (1024, 576),
        20,
        6.0,
        references=(("character", "https://x.example/ref.png", 0.8),),
    ),
    "sdxl_image_high.seed_6": Expected("sdxl_image_high", 6, 1234567890, SQUARE, 25, 7.5),
    "sdxl_image_high.style_reference_3": Expected("sdxl_image_high", 3, None, SQUARE, 25, 7.5, references=STYLE),
    "video7b_fast_enhanced": Expected("video7b_fast_enhanced", 1, None, PORTRAIT, 25, 6.5, VIDEO),
    "video7b_fast_enhanced.start_end": Expected("video7b_fast_enhanced", 1, 7, PORTRAIT, 25, 6.5, VIDEO, START_END),
    "video7b_high_enhanced": Expected("video7b_high_enhanced", 1, None, PORTRAIT, 50, 7.5, VIDEO),
    "video_fast": Expected("video_fast", 1, None, PORTRAIT, 25, 6.5, VIDEO),
    "video_fast.project_videoid": Expected("video_fast", 1, None, PORTRAIT, 25, 6.5, VIDEO),
    "video_fast.start_end": Expected("video_fast", 1, 7, PORTRAIT, 25, 6.5, VIDEO, START_END),
    "video_high": Expected("video_high", 1, None, PORTRAIT, 50, 7.5, VIDEO),
    "video_high.start_end": Expected("video_high", 1, 7, PORTRAIT, 50, 7.5, VIDEO, START_END),
}


def test_the_table_covers_every_recording_and_every_type() -> None:
    assert set(EXPECTED) == set(RECORDED)
    assert {expected.type for expected in EXPECTED.values()} == set(CATALOGUE)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_payload_means(name: str) -> None:
    job = parsed(RECORDED[name])
    assert EXPECTED[name] == Expected(
        job.type.name,
        job.num_images,
        job.seed,
        (job.width, job.height),
        job.num_inference_steps,
        job.guidance_scale,
        (job.num_frames, job.requested_frames),
        tuple((reference.role, reference.source, reference.strength) for reference in job.references),
    )
    assert (job.id, job.user_id, job.prompt) == (RECORDED[name]["id"], USER_ID, RECORDED[name]["prompt"])
    assert job.bucket == job.type.name
    assert job.solver == ("euler" if job.type.model_family == "sdxl" else "unipc")
    assert job.attempt == 1
    if job.type.model_family == "wan":
        assert job.flow_shift == 5.0


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_every_envelope_holds_the_same_job(name: str, envelope: str) -> None:
    """'Producers changed their envelope over time. All of these are the same job, and a decoder accepts all:
    `{job}` · `"<json string of job>"` · `["<json string of job>"]` · `{"data": "<json string of job>"}`.'
    """
    job = parsed(ENVELOPES[envelope](RECORDED[name]))
    assert replace(job, attempt=1) == parsed(RECORDED[name])
    assert job.attempt == (2 if envelope == "our redelivery" else 1)


def test_rows_linked_by_the_producer() -> None:
    """'Fields: … `video_id?`, `image_id?`, … `model_variant`'"""
    image = parsed(RECORDED["sdxl_image_fast.image_id"])
    assert (image.image_id, image.video_id) == ("2ed0ac38-49bf-4edd-adbb-be4d46f66fa5", None)
    video = parsed(RECORDED["video_fast.project_videoid"])
    assert (video.image_id, video.video_id) == (None, "998a8ebb-f367-440a-9b5a-096f2196dbaf")
    assert (image.model_variant, video.model_variant) == ("lustify_sdxl", "wan_2_1_1_3b")


def test_created_at() -> None:
    recorded = parsed(RECORDED["image_fast"]).created_at
    assert recorded == datetime(2026, 11, 21, 0, 37, 29, 219_000, tzinfo=UTC)
    assert parsed(RECORDED["sdxl_image_fast.2026-02"]).created_at is None


def test_a_project_s_prompt_stands_above_the_one_in_metadata() -> None:
    assert parsed(RECORDED["video_fast.project_videoid"]).prompt == "enhanced project prompt"


def test_the_negative_prompt_belongs_to_sdxl() -> None:
    """'`negative_prompt` (SDXL only)'"""
    for name, recorded in RECORDED.items():
        assert parsed(recorded).negative_prompt == recorded.get("negative_prompt", ""), name

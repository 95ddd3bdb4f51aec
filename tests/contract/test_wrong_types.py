"""Every field with every kind of wrong value: one error that names the field and carries the job's id."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ourvidz_worker.contract.payload_error import MalformedElement
from tests.contract.samples import JOB_ID, PICTURE, payload, refused, with_field

HUGE = 10**400


def nested(depth: int = 40) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


NOT_A_NUMBER = [
    "many",
    "nan",
    "inf",
    "1e999",
    "1_0",
    "0x10",
    "7\x00",
    "\u0667",
    "\ud800",
    math.nan,
    math.inf,
    -math.inf,
    HUGE,
    -HUGE,
    str(HUGE),
    True,
    False,
    {"value": 1},
    [1],
    {},
    [],
    nested(),
]
NOT_A_TEXT = [
    7,
    0,
    0.5,
    math.nan,
    math.inf,
    HUGE,
    True,
    False,
    {"value": "x"},
    ["x"],
    {},
    [],
    nested(),
    "a\x00b",
    "a\ud800b",
]
NOT_AN_OBJECT = [7, "x", "", "{}", True, False, math.nan, HUGE, [], [{}], nested()]
NOT_A_TIME = [
    "yesterday",
    "2026-13-01",
    "\x00",
    "\ud800",
    math.nan,
    math.inf,
    HUGE,
    1e300,
    True,
    {},
    [],
    nested(),
]

NUMBERS = [
    ("sdxl_image_fast", "config.num_images"),
    ("sdxl_image_fast", "metadata.num_images"),
    ("video_fast", "num_images"),
    ("sdxl_image_fast", "config.seed"),
    ("image_fast", "metadata.seed"),
    ("video_fast", "seed"),
    ("sdxl_image_fast", "config.steps"),
    ("sdxl_image_fast", "metadata.steps"),
    ("sdxl_image_fast", "steps"),
    ("sdxl_image_fast", "config.num_inference_steps"),
    ("sdxl_image_fast", "config.guidance_scale"),
    ("sdxl_image_fast", "metadata.guidance_scale"),
    ("sdxl_image_fast", "config.width"),
    ("sdxl_image_fast", "config.height"),
    ("image_fast", "config.sample_steps"),
    ("image_fast", "config.sample_guide_scale"),
    ("image_fast", "config.sample_shift"),
    ("video_fast", "config.frame_num"),
    ("video_fast", "metadata.frame_num"),
    ("sdxl_image_fast", "metadata.reference_strength"),
    ("video_fast", "config.reference_strength"),
    ("sdxl_image_fast", "references[0].strength"),
]
SIZES = [("sdxl_image_fast", "config.resolution"), ("image_fast", "config.size"), ("video_fast", "config.size")]
TEXTS = [
    ("sdxl_image_fast", "type"),
    ("sdxl_image_fast", "user_id"),
    ("sdxl_image_fast", "prompt"),
    ("sdxl_image_fast", "negative_prompt"),
    ("sdxl_image_fast", "bucket"),
    ("sdxl_image_fast", "model_variant"),
    ("sdxl_image_fast", "image_id"),
    ("video_fast", "video_id"),
    ("image_fast", "config.sample_solver"),
    ("sdxl_image_fast", "config.scheduler"),
    ("sdxl_image_fast", "metadata.sampler"),
    ("sdxl_image_fast", "metadata.reference_image_url"),
    ("sdxl_image_fast", "config.reference_image_url"),
    ("sdxl_image_fast", "metadata.reference_type"),
    ("video_fast", "metadata.start_reference_url"),
    ("video_fast", "config.end_reference_image_url"),
    ("video_fast", "first_frame"),
    ("video_fast", "metadata.last_frame"),
    ("sdxl_image_fast", "references[0].url"),
    ("sdxl_image_fast", "references[0].type"),
]


def assert_refused(name: str, field: str, wrong: object) -> None:
    base = payload(name)
    if "reference_" in field:
        base["metadata"] = {"reference_image_url": PICTURE}
    if field.startswith("references"):
        base["references"] = [{"type": "style", "url": PICTURE, "strength": 0.5}]
    if field in ("config.width", "config.height"):
        base["config"] |= {"width": 1024, "height": 1024}
    if not field.startswith("config."):
        base["config"].pop(field.rpartition(".")[2], None)
    error = refused(with_field(base, field, wrong))
    assert not isinstance(error, MalformedElement)
    assert (error.field, error.job_id) == (field, JOB_ID)
    assert str(error).startswith(f"{field} ")
    assert len(str(error)) < 400
    assert str(error).isprintable()


@pytest.mark.parametrize("wrong", NOT_A_NUMBER, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(("name", "field"), NUMBERS)
def test_a_number_of_the_wrong_type(name: str, field: str, wrong: object) -> None:
    assert_refused(name, field, wrong)


@pytest.mark.parametrize(
    "wrong",
    [*NOT_A_TEXT, "wide", "1024", "1024x", "1024x-1", "999999x8", "\u0664\u0668\u0660x\u0664\u0668\u0660"],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize(("name", "field"), SIZES)
def test_a_size_of_the_wrong_type(name: str, field: str, wrong: object) -> None:
    assert_refused(name, field, wrong)


@pytest.mark.parametrize("wrong", NOT_A_TEXT, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(("name", "field"), TEXTS)
def test_a_text_of_the_wrong_type(name: str, field: str, wrong: object) -> None:
    """Half of a surrogate pair cannot be sent as UTF-8, and PostgreSQL refuses NUL: both are wrong types too."""
    assert_refused(name, field, wrong)


@pytest.mark.parametrize("wrong", NOT_AN_OBJECT, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("field", ["config", "metadata"])
@pytest.mark.parametrize("name", ["sdxl_image_fast", "video_fast"])
def test_a_section_that_is_no_object(name: str, field: str, wrong: object) -> None:
    error = refused(payload(name, **{field: wrong}))
    assert (error.field, error.job_id) == (field, JOB_ID)


@pytest.mark.parametrize("wrong", NOT_A_TIME, ids=lambda value: repr(value)[:20])
def test_a_time_of_the_wrong_type(wrong: object) -> None:
    assert_refused("sdxl_image_fast", "created_at", wrong)


@pytest.mark.parametrize("wrong", [7, True, "x", {}, {"0": 1}, math.nan, HUGE], ids=repr)
def test_references_that_are_no_list(wrong: object) -> None:
    for field in ("references", "config.references", "metadata.references"):
        assert_refused_as(field, with_field(payload(), field, wrong))


@pytest.mark.parametrize("wrong", [7, None, True, "x", [], math.nan, HUGE], ids=repr)
def test_a_reference_that_is_no_object(wrong: object) -> None:
    assert_refused_as("references[0]", payload(references=[wrong]))


def assert_refused_as(field: str, job: dict[str, Any]) -> None:
    error = refused(job)
    assert (error.field, error.job_id) == (field, JOB_ID)

"""The job catalogue against the table of contract section 3."""

from __future__ import annotations

import math
import re

import pytest

from ourvidz_worker.contract.catalogue import MIB, JobType, Range, parse_catalogue
from tests.contract.samples import CATALOGUE, CATALOGUE_TEXT

SECTION_3 = """
| sdxl_image_fast | sdxl_queue | 15 | 6.0 | 1024x1024 | - | 5 MiB | 4 / image |
| sdxl_image_high | sdxl_queue | 25 | 7.5 | 1024x1024 | - | 10 MiB | 8 / image |
| image_fast | wan_queue | 25 | 6.5 | 480x832 | 1 | 5 MiB | 25 |
| image_high | wan_queue | 50 | 7.5 | 480x832 | 1 | 10 MiB | 40 |
| video_fast | wan_queue | 25 | 6.5 | 480x832 | 83 | 50 MiB | 135 |
| video_high | wan_queue | 50 | 7.5 | 480x832 | 83 | 200 MiB | 180 |
| image7b_fast_enhanced | wan_queue | 25 | 6.5 | 480x832 | 1 | 20 MiB | 85 |
| image7b_high_enhanced | wan_queue | 50 | 7.5 | 480x832 | 1 | 20 MiB | 100 |
| video7b_fast_enhanced | wan_queue | 25 | 6.5 | 480x832 | 83 | 100 MiB | 195 |
| video7b_high_enhanced | wan_queue | 50 | 7.5 | 480x832 | 83 | 100 MiB | 240 |
""".strip().splitlines()


def row(job_type: JobType) -> str:
    frames = "-" if job_type.model_family == "sdxl" else job_type.num_frames
    per_image = " / image" if job_type.expected_per_image else ""
    cells = (
        job_type.name,
        job_type.queue,
        job_type.num_inference_steps,
        job_type.guidance_scale,
        f"{job_type.width}x{job_type.height}",
        frames,
        f"{job_type.bucket_limit_bytes // MIB} MiB",
        f"{job_type.expected_seconds:g}{per_image}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def test_the_catalogue_is_the_table_of_the_contract() -> None:
    assert [row(job_type) for job_type in CATALOGUE.values()] == SECTION_3


def test_wan_parameters() -> None:
    """'WAN: solver `unipc`, shift 5.0, 16 fps.'"""
    wan = [job_type for job_type in CATALOGUE.values() if job_type.model_family == "wan"]
    assert {(job_type.solver, job_type.flow_shift, job_type.fps) for job_type in wan} == {("unipc", 5.0, 16)}


def test_sdxl_s_scheduler_is_one_of_those_that_a_payload_may_name() -> None:
    sdxl = [job_type for job_type in CATALOGUE.values() if job_type.model_family == "sdxl"]
    assert {job_type.solver for job_type in sdxl} == {"euler"}
    assert all("euler" in job_type.limits.solvers for job_type in sdxl)


def test_queues() -> None:
    """'`sdxl_queue` (2 job types), `wan_queue` (8 job types)'"""
    queues = [job_type.queue for job_type in CATALOGUE.values()]
    assert (queues.count("sdxl_queue"), queues.count("wan_queue")) == (2, 8)
    assert (CATALOGUE.queue_of("sdxl"), CATALOGUE.queue_of("wan")) == ("sdxl_queue", "wan_queue")


def test_fast_types() -> None:
    assert CATALOGUE.fast_types("sdxl_queue") == {"sdxl_image_fast"}
    wan = {"image_fast", "video_fast", "image7b_fast_enhanced", "video7b_fast_enhanced"}
    assert CATALOGUE.fast_types("wan_queue") == wan
    assert CATALOGUE.fast_types("no_queue") == frozenset()


def test_enhanced_types_and_their_model_type() -> None:
    """'Enhanced types rewrite the prompt with Qwen' and '`model_type` (`sdxl|wan|enhanced-7b`)'"""
    for name, job_type in CATALOGUE.items():
        assert job_type.enhanced == name.endswith("_enhanced")
        family = "sdxl" if name.startswith("sdxl") else "wan"
        assert job_type.model_type == ("enhanced-7b" if job_type.enhanced else family)


def test_media() -> None:
    """'Images are PNG, videos MP4.'"""
    for name, job_type in CATALOGUE.items():
        assert job_type.media_type == ("video/mp4" if name.startswith("video") else "image/png")


def test_each_type_has_its_own_bucket() -> None:
    """'The bucket is named like the job type'; thumbnails lie beside what they show."""
    for name, job_type in CATALOGUE.items():
        bucket = CATALOGUE.buckets[name]
        assert (bucket.limit_bytes, bucket.media_types) == (
            job_type.bucket_limit_bytes,
            (job_type.media_type, "image/webp"),
        )


def test_other_buckets() -> None:
    """'Other buckets: `reference_images` (10 MiB), `workspace_assets`, `system_assets` (public, 5 MiB), `videos`
    (public).'
    """
    others = set(CATALOGUE.buckets) - set(CATALOGUE)
    assert others == {"reference_images", "workspace_assets", "system_assets", "videos"}
    assert {name for name in CATALOGUE.buckets if CATALOGUE.buckets[name].public} == {"system_assets", "videos"}
    assert CATALOGUE.buckets["reference_images"].limit_bytes == 10 * MIB
    assert CATALOGUE.buckets["system_assets"].limit_bytes == 5 * MIB


def test_every_default_lies_within_its_own_limits() -> None:
    for job_type in CATALOGUE.values():
        limits = job_type.limits
        assert job_type.num_inference_steps in limits.num_inference_steps
        assert job_type.guidance_scale in limits.guidance_scale
        assert job_type.width in limits.width
        assert job_type.height in limits.height
        assert job_type.width * job_type.height <= limits.pixels
        assert job_type.width % limits.multiple_of == job_type.height % limits.multiple_of == 0
        assert job_type.num_frames in limits.num_frames


def test_a_range_holds_both_its_ends_and_not_nan() -> None:
    assert 1 in Range(1, 3)
    assert 3 in Range(1, 3)
    assert 3.0001 not in Range(1, 3)
    not_a_number = math.nan
    assert not_a_number not in Range(1, 3)


@pytest.mark.parametrize(
    ("pattern", "replacement", "named"),
    [
        (r'queue = "sdxl_queue"\n', "", r"\[types.sdxl_image_fast\].*'queue'"),
        (r'model_family = "sdxl"', 'model_family = "flux"', r"\[types.sdxl_image_fast\].*flux"),
        (r'media = "image"', 'media = "sound"', r"\[types.sdxl_image_fast\].*sound"),
        (r"num_inference_steps = 15", 'num_inference_steps = "many"', r"\[types.sdxl_image_fast\].*many"),
        (r"size = \[1024, 1024\]", "size = [1024]", r"\[types.sdxl_image_fast\]"),
        (r"guidance_scale = \[0.0, 30.0\]", "guidance_scale = [30.0, 0.0]", r"\[limits.sdxl\].*\[30, 0\]"),
        (r"guidance_scale = \[0.0, 30.0\]", "guidance_scale = [0.0]", r"\[limits.sdxl\]"),
        (r'solver = "euler"', 'solver = "heun"', r"\[types.sdxl_image_fast\].*'heun' is not one of euler"),
        (r'solver = "euler"', "", r"\[types.sdxl_image_fast\].*'solver'"),
        (r'solvers = \["euler".*\n', "", r"\[limits.sdxl\].*'solvers'"),
        (r"\[limits.sdxl\]", "[limits.other]", r"\[types.sdxl_image_fast\].*'sdxl'"),
        (r"\[buckets.reference_images\]\nlimit_mib = 10", "[buckets.reference_images]", "reference_images"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(pattern: str, replacement: str, named: str) -> None:
    text, changes = re.subn(pattern, replacement, CATALOGUE_TEXT, count=1)
    assert changes == 1
    with pytest.raises(ValueError, match=named):
        parse_catalogue(text)


@pytest.mark.parametrize("name", ["limits", "sdxl", "wan", "types", "buckets"])
def test_a_table_that_is_none_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} in the job catalogue must be a table, got 3"):
        parse_catalogue(f"{name} = 3")


@pytest.mark.parametrize(("text", "problem"), [("", "names no job type"), ("[types", "at end of document")])
def test_a_text_that_is_no_catalogue_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_catalogue(text)

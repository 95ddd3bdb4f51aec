"""The traps of contract section 2: where a producer may put a field, and whose defaults count."""

from __future__ import annotations

from typing import Any

import pytest

from ourvidz_worker.contract.parse import MAX_SEED, model_frames
from tests.contract.samples import CATALOGUE, JOB_ID, RECORDED, parsed, payload, refused, with_field

SDXL = [name for name, job_type in CATALOGUE.items() if job_type.model_family == "sdxl"]
WAN = [name for name in CATALOGUE if name not in SDXL]
VIDEOS = [name for name, job_type in CATALOGUE.items() if job_type.media == "video"]
STILLS = [name for name in CATALOGUE if name not in VIDEOS]

WAN_CONFIG: dict[str, Any] = {
    "size": "480*832",
    "sample_steps": 50,
    "sample_guide_scale": 3.0,
    "sample_solver": "euler",
    "sample_shift": 9,
    "frame_num": 83,
}
NONSENSE: dict[str, Any] = {
    "size": "huge",
    "sample_steps": {"a": 1},
    "sample_guide_scale": -1e300,
    "sample_solver": 7,
    "sample_shift": True,
    "frame_num": -1,
}


@pytest.mark.parametrize("name", SDXL)
@pytest.mark.parametrize("config", [WAN_CONFIG, NONSENSE], ids=["WAN's config", "nonsense"])
def test_sdxl_ignores_wan_s_config(name: str, config: dict[str, Any]) -> None:
    """'SDXL jobs carry WAN's `config` … For SDXL they mean nothing: it is always the catalogue's 1024x1024 / 15 or
    25 steps / guidance 6.0 or 7.5'
    """
    job = parsed(payload(name, config={"num_images": 1, **config}, metadata=config))
    assert job == parsed(payload(name))
    assert (job.width, job.height, job.num_frames) == (1024, 1024, 1)
    expected = (15, 6.0) if name == "sdxl_image_fast" else (25, 7.5)
    assert (job.num_inference_steps, job.guidance_scale) == expected


@pytest.mark.parametrize("section", ["config", "metadata", None])
@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"steps": 30}, (30, 6.0, 1024, 1024)),
        ({"num_inference_steps": "30"}, (30, 6.0, 1024, 1024)),
        ({"guidance_scale": 4.5}, (15, 4.5, 1024, 1024)),
        ({"guidance_scale": 0}, (15, 0.0, 1024, 1024)),
        ({"resolution": "1024x576"}, (15, 6.0, 1024, 576)),
        ({"resolution": "1024 X 576"}, (15, 6.0, 1024, 576)),
        ({"width": 832, "height": "1216"}, (15, 6.0, 832, 1216)),
    ],
)
def test_sdxl_s_own_keys_count(section: str | None, own: dict[str, Any], expected: tuple[int, float, int, int]) -> None:
    """'unless the payload names SDXL's own keys (`steps` or `num_inference_steps`, `guidance_scale`, `resolution`
    or `width`+`height`)'
    """
    given = {**WAN_CONFIG, "num_images": 1, **own}
    job = parsed(payload(config=WAN_CONFIG) | (given if section is None else {section: given}))
    assert (job.num_inference_steps, job.guidance_scale, job.width, job.height) == expected


@pytest.mark.parametrize("section", ["config", "metadata", None])
@pytest.mark.parametrize("key", ["scheduler", "sampler"])
def test_sdxl_s_scheduler_has_a_name_of_its_own(section: str | None, key: str) -> None:
    """`sample_solver` is WAN's, whatever it holds."""
    given = {**WAN_CONFIG, "num_images": 1, key: "dpm++_2m_karras"}
    assert parsed(payload(config=WAN_CONFIG) | (given if section is None else {section: given})).solver == (
        "dpm++_2m_karras"
    )
    assert parsed(payload("image_fast", config={"num_images": 1, key: "ddim"})).solver == "unipc"


@pytest.mark.parametrize("name", WAN)
def test_wan_s_config_overrides_the_catalogue(name: str) -> None:
    """'For WAN, `config` overrides the catalogue.'"""
    config = {
        "size": "832*480",
        "sample_steps": 10,
        "sample_guide_scale": "3.5",
        "sample_solver": "dpm++",
        "sample_shift": 3,
        "frame_num": 33,
    }
    job = parsed(payload(name, config={"num_images": 1, **config}))
    assert (job.width, job.height, job.num_inference_steps, job.guidance_scale) == (832, 480, 10, 3.5)
    assert (job.solver, job.flow_shift) == ("dpm++", 3.0)
    assert job.num_frames == job.requested_frames == (33 if name in VIDEOS else 1)


@pytest.mark.parametrize("name", WAN)
def test_wan_without_config_is_the_catalogue_s(name: str) -> None:
    job, row = parsed(payload(name, config=None)), CATALOGUE[name]
    assert (job.width, job.height) == (row.width, row.height)
    assert (job.num_inference_steps, job.guidance_scale) == (row.num_inference_steps, row.guidance_scale)
    assert (job.requested_frames, job.solver, job.flow_shift) == (row.num_frames, "unipc", 5.0)


@pytest.mark.parametrize("name", CATALOGUE)
def test_metadata_can_be_null(name: str) -> None:
    """'`metadata` can be null.'"""
    assert parsed(payload(name, metadata=None)) == parsed(payload(name))


@pytest.mark.parametrize("blank", ["", " \n\t", None])
def test_an_empty_prompt_is_looked_up_in_metadata(blank: str | None) -> None:
    """'`prompt` can be "" (then `metadata.prompt`; if that is empty too the job fails with a clear message).'"""
    assert parsed(payload(prompt=blank, metadata={"prompt": "two gulls"})).prompt == "two gulls"
    for metadata in (None, {}, {"prompt": blank}):
        error = refused(payload(prompt=blank, metadata=metadata))
        assert (error.field, error.job_id) == ("prompt", JOB_ID)
        assert str(error) == "prompt is empty, and so is metadata.prompt; say what to draw"


@pytest.mark.parametrize("section", ["config", "metadata", None])
@pytest.mark.parametrize("spelled", [1234567890, "1234567890", 1234567890.0, "1234567890.0", " 1234567890 "])
def test_seed_may_be_anywhere_and_a_string(section: str | None, spelled: object) -> None:
    """'`seed` and all reference fields are in `metadata` in 2025 producers, in `config` in later ones, and may be
    numbers or numeric strings.'
    """
    seeded = {"num_images": 1, "seed": spelled}
    assert parsed(payload() | (seeded if section is None else {section: seeded})).seed == 1234567890


def test_a_seed_beyond_what_a_float_holds_is_exact() -> None:
    for seed in (2**53 + 1, MAX_SEED):
        assert parsed(payload(seed=seed)).seed == seed
        assert parsed(payload(seed=str(seed))).seed == seed


def test_seed_zero_is_a_seed_and_none_is_drawn_by_the_worker() -> None:
    """'without a seed one is drawn and reported'"""
    assert parsed(payload(seed=0)).seed == 0
    assert parsed(payload(seed=None)).seed is None
    assert parsed(payload(seed="")).seed is None


def test_image_i_uses_seed_plus_i() -> None:
    """'Image i of a job uses `seed + i`'"""
    job = parsed(payload(config={"num_images": 6}))
    assert job.seeds(40) == (40, 41, 42, 43, 44, 45)
    assert max(job.seeds(MAX_SEED)) < 2**63


def test_num_images_is_looked_up_in_config_then_metadata_then_top_level() -> None:
    """'`num_images`: `config`, then `metadata`, then top level'"""
    assert parsed(payload(config={"num_images": 1}, metadata={"num_images": 3}, num_images=6)).num_images == 1
    assert parsed(payload(config={}, metadata={"num_images": 3}, num_images=6)).num_images == 3
    assert parsed(payload(config={}, metadata={}, num_images=6)).num_images == 6
    assert parsed(payload(config={"num_images": None}, metadata={"num_images": "3"})).num_images == 3


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_num_images_at_all_means_six(name: str) -> None:
    """'none at all means an oldest-generation producer that expects 6'; a video is one file."""
    assert parsed(payload(name, config={})).num_images == (1 if name in VIDEOS else 6)


@pytest.mark.parametrize("name", WAN)
def test_wan_takes_no_negative_prompt(name: str) -> None:
    """'WAN never takes a user negative prompt.'"""
    job = payload(name, negative_prompt="blurry", metadata={"negative_prompt": "blurry"})
    assert parsed(job).negative_prompt == ""


def test_sdxl_s_negative_prompt_may_stand_in_metadata() -> None:
    assert parsed(payload(negative_prompt="", metadata={"negative_prompt": "blurry"})).negative_prompt == "blurry"
    both = payload(negative_prompt="dark", metadata={"negative_prompt": "blurry"})
    assert parsed(both).negative_prompt == "dark"


def test_size_is_width_times_height() -> None:
    """'`size` is `width*height` (`480*832` is portrait).'"""
    job = parsed(RECORDED["video_fast"])
    assert (job.width, job.height) == (480, 832)


@pytest.mark.parametrize("spelled", ["832*480", "832x480", " 832 * 480 ", "832\u00d7480"])
def test_spellings_of_a_size(spelled: str) -> None:
    job = parsed(payload("image_fast", config={"num_images": 1, "size": spelled}))
    assert (job.width, job.height) == (832, 480)


@pytest.mark.parametrize(
    ("requested", "drawn"),
    [(83, 81), (81, 81), (80, 81), (82, 81), (84, 85), (1, 1), (2, 1), (3, 1), (4, 5), (161, 161)],
)
def test_frames_come_out_as_4k_plus_1(requested: int, drawn: int) -> None:
    """'`frame_num` 83 is what producers send; the model needs 4k+1, so 81 come out: say so in the result
    metadata.'
    """
    job = parsed(payload("video_fast", config={"frame_num": requested}))
    assert (job.num_frames, job.requested_frames) == (drawn, requested)


@pytest.mark.parametrize(
    ("config", "metadata", "requested"), [(83, 33, 33), (49, 33, 49), (49, 83, 49), (None, 17, 17)]
)
def test_a_scene_asks_for_its_frames_where_queue_job_lets_it(config: int | None, metadata: int, requested: int) -> None:
    job = parsed(payload("video_fast", config={"frame_num": config}, metadata={"frame_num": metadata}))
    assert (job.num_frames, job.requested_frames) == (requested, requested)


def test_a_still_has_one_frame_whatever_is_asked() -> None:
    still = parsed(payload("image_fast", config={"num_images": 1}, metadata={"frame_num": 33}))
    assert still.num_frames == 1


def test_frames_never_leave_the_catalogue_s_range() -> None:
    for requested in range(1, 162):
        assert model_frames(requested) % 4 == 1
        assert 1 <= model_frames(requested) <= 161


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_payload_may_name_another_bucket(name: str) -> None:
    """'The bucket is named like the job type unless the payload's `bucket` says otherwise.'"""
    assert parsed(payload(name)).bucket == name
    assert parsed(payload(name, bucket="workspace_assets")).bucket == "workspace_assets"
    assert refused(payload(name, bucket="elsewhere")).field == "bucket"


def test_expected_seconds_of_sdxl_are_per_image() -> None:
    """'expected s … 4 / image'"""
    assert parsed(payload(config={"num_images": 6})).expected_seconds == 24
    assert parsed(payload("image_fast", config={"num_images": 6})).expected_seconds == 25


def test_a_field_that_nobody_reads_may_hold_anything() -> None:
    for path in ("config.expected_time", "metadata.credits", "compel_enabled"):
        assert parsed(with_field(payload(), path, NONSENSE)) == parsed(payload())

"""Where results lie inside their bucket, in both layouts (contract section 4)."""

from __future__ import annotations

import string
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.envelope import Delivery
from ourvidz_worker.contract.storage_keys import storage_key, thumbnail_key
from tests.contract.samples import CATALOGUE, JOB_ID, PROPERTY, USER_ID, compact, parsed, payload

CREATED_AT = "2026-11-21T00:37:29.219Z"
TIMESTAMP = 1795221449

identifiers = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=128)


def test_images_are_numbered_from_zero() -> None:
    """'images `{user_id}/{job_id}_{i}.png` (i from 0)'"""
    job = parsed(payload(config={"num_images": 3}))
    assert [storage_key(job, index) for index in range(job.num_images)] == [
        f"{USER_ID}/{JOB_ID}_0.png",
        f"{USER_ID}/{JOB_ID}_1.png",
        f"{USER_ID}/{JOB_ID}_2.png",
    ]


def test_a_video_is_one_file() -> None:
    """'videos `{user_id}/{job_id}.mp4`'"""
    assert storage_key(parsed(payload("video_fast"))) == f"{USER_ID}/{JOB_ID}.mp4"


def test_a_key_depends_on_the_job_alone() -> None:
    """'They depend on the job alone, so a second upload overwrites the first.'"""
    for job_type in CATALOGUE:
        first = payload(job_type, created_at=CREATED_AT)
        redelivered = Delivery(compact(first)).again("the worker died", charged=True)
        for layout in ("current", "legacy"):
            assert storage_key(parsed(first), layout=layout) == storage_key(parsed(redelivered), layout=layout)


def test_the_older_layout() -> None:
    """'Older layout, as a setting: `{user_id}/sdxl_{job_id}_{timestamp}_{i}.png`, `{user_id}/{job_id}_{timestamp}.png`,
    `{job_id}_{timestamp}.mp4`, with the timestamp of `created_at`.'
    """
    for job_type, expected in {
        "sdxl_image_high": f"{USER_ID}/sdxl_{JOB_ID}_{TIMESTAMP}_0.png",
        "image_fast": f"{USER_ID}/{JOB_ID}_{TIMESTAMP}.png",
        "image7b_fast_enhanced": f"{USER_ID}/{JOB_ID}_{TIMESTAMP}.png",
        "video_fast": f"{JOB_ID}_{TIMESTAMP}.mp4",
    }.items():
        assert storage_key(parsed(payload(job_type, created_at=CREATED_AT)), layout="legacy") == expected


def test_the_older_layout_keeps_a_batch_of_stills_apart() -> None:
    for job_type in ("sdxl_image_fast", "image_fast"):
        job = parsed(payload(job_type, config={"num_images": 6}, created_at=CREATED_AT))
        assert len({storage_key(job, index, layout="legacy") for index in range(6)}) == 6


def test_the_older_layout_without_created_at_is_still_the_same_every_time() -> None:
    """Newer producers send no `created_at`; a clock would give every upload another key."""
    job = parsed(payload())
    assert storage_key(job, layout="legacy") == f"{USER_ID}/sdxl_{JOB_ID}_0_0.png"


def test_a_thumbnail_lies_beside_what_it_shows_in_every_layout() -> None:
    assert thumbnail_key(f"{USER_ID}/{JOB_ID}_0.png") == f"{USER_ID}/{JOB_ID}_0.thumb.webp"
    assert thumbnail_key(f"{USER_ID}/{JOB_ID}.mp4") == f"{USER_ID}/{JOB_ID}.thumb.webp"
    assert thumbnail_key(f"{JOB_ID}_{TIMESTAMP}.mp4") == f"{JOB_ID}_{TIMESTAMP}.thumb.webp"


def test_a_time_may_be_a_number_or_carry_a_zone() -> None:
    for spelled in (TIMESTAMP, TIMESTAMP + 0.219, "2026-11-21T01:37:29+01:00", "2026-11-21T00:37:29"):
        job = parsed(payload(created_at=spelled))
        assert storage_key(job, layout="legacy") == f"{USER_ID}/sdxl_{JOB_ID}_{TIMESTAMP}_0.png"


@given(
    user_id=identifiers,
    job_id=identifiers,
    job_type=st.sampled_from(list(CATALOGUE)),
    created_at=st.none() | st.datetimes().map(str),
)
@PROPERTY
def test_every_key_stays_inside_its_user_s_folder(
    user_id: str, job_id: str, job_type: str, created_at: str | None
) -> None:
    job = parsed(payload(job_type, id=job_id, user_id=user_id, created_at=created_at, config={"num_images": 6}))
    keys = [storage_key(job, index) for index in range(job.num_images)]
    if not job.is_video:
        keys += [storage_key(job, index, layout="legacy") for index in range(job.num_images)]
    keys += map(thumbnail_key, tuple(keys))
    assert len(set(keys)) == len(keys)
    for key in keys:
        folder, name = key.split("/")
        assert folder == user_id
        assert name == PurePosixPath(name).name
        assert job_id in name

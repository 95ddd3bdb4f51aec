"""Reference pictures: every spelling, roles, strengths and sources (contract section 2)."""

from __future__ import annotations

from typing import Any

import pytest

from ourvidz_worker.contract.job import Reference
from tests.contract.samples import JOB_ID, PICTURE, USER_ID, parsed, payload, refused

STORED = f"reference_images/{USER_ID}/ref.png"


def references(job: dict[str, Any]) -> list[tuple[str, str, float]]:
    return [(reference.role, reference.source, reference.strength) for reference in parsed(job).references]


def placed(job_type: str, section: str | None, values: dict[str, Any]) -> dict[str, Any]:
    """A payload with `values` in `config`, in `metadata` or at the top level."""
    values = {"num_images": 1, **values}
    return payload(job_type) | (values if section is None else {section: values})


@pytest.mark.parametrize("section", ["config", "metadata", None])
@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "image_fast", "video_fast"])
@pytest.mark.parametrize("role", ["style", "composition", "character"])
def test_one_reference_anywhere(job_type: str, section: str | None, role: str) -> None:
    """'References: `reference_image_url` + `reference_type` (`style|composition|character`) + `reference_strength`'
    and '`seed` and all reference fields are in `metadata` in 2025 producers, in `config` in later ones'
    """
    spelled = {"reference_image_url": PICTURE, "reference_type": role, "reference_strength": "0.5"}
    assert references(placed(job_type, section, spelled)) == [(role, PICTURE, 0.5)]


@pytest.mark.parametrize("section", ["config", "metadata", None])
@pytest.mark.parametrize("start", ["start_reference_url", "start_reference_image_url", "first_frame"])
@pytest.mark.parametrize("end", ["end_reference_url", "end_reference_image_url", "last_frame"])
def test_frames_of_a_video(section: str | None, start: str, end: str) -> None:
    """'`start_reference_url` or `start_reference_image_url`, `end_reference_url` or `end_reference_image_url`,
    `first_frame`, `last_frame` for video.'
    """
    spelled = {start: PICTURE, end: STORED, "reference_strength": 1}
    expected = [("start", PICTURE, 1.0), ("end", STORED, 1.0)]
    assert references(placed("video_fast", section, spelled)) == expected


def test_a_video_takes_either_end_alone_and_a_style_besides() -> None:
    assert references(placed("video_high", "config", {"last_frame": STORED})) == [("end", STORED, 0.7)]
    all_three = {"reference_image_url": PICTURE, "first_frame": STORED, "last_frame": STORED}
    assert [role for role, _, _ in references(placed("video_high", "config", all_three))] == [
        "style",
        "start",
        "end",
    ]


def test_strength_and_type_have_defaults() -> None:
    """'`reference_strength` (0.1-1.0, default 0.7)'"""
    assert references(placed("image_fast", "metadata", {"reference_image_url": PICTURE})) == [("style", PICTURE, 0.7)]


@pytest.mark.parametrize("strength", [0.1, "0.1", 0.7, 1, 1.0, "1"])
def test_strength_within_its_bounds(strength: object) -> None:
    spelled = {"reference_image_url": PICTURE, "reference_strength": strength}
    assert references(placed("image_fast", "config", spelled)) == [("style", PICTURE, float(str(strength)))]


@pytest.mark.parametrize("strength", [0, 0.09, 1.01, 70, -0.5, "0", "2"])
@pytest.mark.parametrize("source", ["reference_image_url", "first_frame", "last_frame"])
def test_strength_out_of_bounds(source: str, strength: object) -> None:
    """'`reference_strength` (0.1-1.0'"""
    error = refused(placed("video_fast", "config", {source: PICTURE, "reference_strength": strength}))
    assert (error.field, error.job_id) == ("config.reference_strength", JOB_ID)
    assert "must be 0.1 to 1" in str(error)


def test_type_and_strength_without_a_picture_mean_nothing() -> None:
    """Newer producers send `reference_type` with every job; what steers nothing must not fail a job."""
    leftovers = {"reference_type": "pose", "reference_strength": 0, "reference_image_url": ""}
    assert references(placed("sdxl_image_fast", "metadata", leftovers)) == []


def test_our_own_list() -> None:
    """'Our own extension: `references: [{"type","url","strength"}, …]`, several per job.'"""
    several = [
        {"type": "style", "url": PICTURE, "strength": 0.3},
        {"type": "composition", "url": STORED},
        {"url": PICTURE, "type": "character", "strength": "1"},
    ]
    expected = [("style", PICTURE, 0.3), ("composition", STORED, 0.7), ("character", PICTURE, 1.0)]
    for section in ("config", "metadata", None):
        assert references(placed("sdxl_image_high", section, {"references": several})) == expected
    assert references(placed("sdxl_image_high", None, {"references": []})) == []


def test_a_video_s_list_may_name_its_frames() -> None:
    for start, end in (("start", "end"), ("start_frame", "end_frame"), ("first_frame", "last_frame")):
        frames = [{"type": start, "url": PICTURE}, {"type": end, "url": STORED}]
        assert references(payload("video_fast", references=frames)) == [
            ("start", PICTURE, 0.7),
            ("end", STORED, 0.7),
        ]


def test_a_reference_remembers_where_it_stood() -> None:
    """A download that fails later must name the same field."""
    job = parsed(payload("video_fast", first_frame=STORED, references=[{"type": "end", "url": PICTURE}]))
    assert job.references == (
        Reference("start", STORED, 0.7, "first_frame"),
        Reference("end", PICTURE, 0.7, "references[0].url"),
    )


@pytest.mark.parametrize("job_type", ["sdxl_image_fast", "image_fast", "image7b_high_enhanced"])
@pytest.mark.parametrize(
    ("spelled", "field"),
    [
        ({"first_frame": STORED}, "first_frame"),
        ({"start_reference_url": STORED}, "start_reference_url"),
        ({"end_reference_image_url": STORED}, "end_reference_image_url"),
        ({"references": [{"type": "end", "url": STORED}]}, "references[0].url"),
    ],
)
def test_a_still_has_no_first_or_last_frame(job_type: str, spelled: dict[str, Any], field: str) -> None:
    """'`first_frame`, `last_frame` for video'"""
    error = refused(payload(job_type, **spelled))
    assert (error.field, error.job_id) == (field, JOB_ID)
    assert str(error).endswith(
        f"is {'an end' if 'end' in str(spelled) else 'a start'} frame, and {job_type} makes no video"
    )


@pytest.mark.parametrize("role", ["pose", "start", "Style", "first_frame"])
def test_an_unknown_type_of_reference(role: str) -> None:
    error = refused(payload("video_fast", reference_image_url=PICTURE, reference_type=role))
    assert (error.field, error.job_id) == ("reference_type", JOB_ID)
    assert "style, composition, character" in str(error)


def test_two_references_of_one_type() -> None:
    twice = payload(reference_image_url=PICTURE, references=[{"type": "style", "url": STORED}])
    assert refused(twice).field == "references[0].url"


def test_an_entry_without_a_url() -> None:
    assert refused(payload(references=[{"type": "style"}])).field == "references[0].url"


@pytest.mark.parametrize(
    "source",
    [
        PICTURE,
        "http://127.0.0.1:54321/storage/v1/object/sign/reference_images/u/ref.png?token=a.b-c",
        "HTTPS://storage.example/ref.png",
        f"reference_images/{USER_ID}/ref.png",
        f"workspace_assets/{USER_ID}/my file (2).png",
        "system_assets/ref..v2.png",
    ],
)
def test_a_value_may_be_a_url_or_a_path_in_a_bucket(source: str) -> None:
    """'A value may be a full (signed) URL or a path inside a bucket such as
    `reference_images/<user>/<file>.png`.'
    """
    assert references(payload(reference_image_url=source)) == [("style", source, 0.7)]


@pytest.mark.parametrize(
    "source",
    [
        "ref.png",
        "file:///etc/passwd?token=hidden",
        "ftp://host/ref.png?token=hidden",
        "data:image/png;base64,hidden",
        "//host/ref.png",
        "/etc/passwd",
        "https://",
        "https:///ref.png",
        "https://host/re f.png?token=hidden",
        "https://hidden@host/ref.png",
        "https://user:hidden@host/ref.png",
        "https://host\\@elsewhere/ref.png?token=hidden",
        "https://host/\\elsewhere/ref.png?token=hidden",
        "https://elsewhere?token=hidden/ref.png",
        "https://elsewhere#hidden/ref.png",
        "https://ho\tst/ref.png?token=hidden",
        "https://ho\x7fst/ref.png?token=hidden",
        "https://host/\x07?token=hidden",
        "https://host/ref.png?token=hidden\n",
        "reference_images/../secrets/ref.png",
        "reference_images/..",
        "../reference_images/ref.png",
        "reference_images//ref.png",
        "reference_images/",
        "reference_images\\u\\ref.png",
        "reference_images/u/ref.png?token=hidden",
        "reference_images/u/ref\n.png",
        "my bucket/ref.png",
    ],
)
def test_any_other_source_is_refused_and_not_repeated(source: str) -> None:
    """A source may carry a signature, so no message shows it."""
    for job in (payload(reference_image_url=source), payload(references=[{"url": source}])):
        error = refused(job)
        assert error.field in ("reference_image_url", "references[0].url")
        assert error.job_id == JOB_ID
        assert source not in str(error)
        assert "hidden" not in str(error)


@pytest.mark.parametrize("wrong", [["https://h/r.png?token=hidden"], {"url": "https://h/r.png?token=hidden"}])
def test_a_source_of_the_wrong_type_is_not_repeated_either(wrong: object) -> None:
    for job in (payload(reference_image_url=wrong), payload(references=[{"url": wrong}])):
        assert "hidden" not in str(refused(job))


@pytest.mark.parametrize("source", ["system_assets/brand/logo.png", "videos/somebody/still.png"])
def test_a_public_bucket_is_anybodys(source: str) -> None:
    assert references(placed("image_fast", "metadata", {"reference_image_url": source})) == [("style", source, 0.7)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("reference_images/somebody-else/ref.png", "must lie in the job's own folder"),
        (f"reference_images/./{USER_ID}/ref.png", "must lie in the job's own folder"),
        ("workspace_assets/shared/ref.png", "must lie in the job's own folder"),
        (f"secrets/{USER_ID}/ref.png", "must begin with one of"),
    ],
)
def test_a_path_leads_to_the_users_own_files_only(source: str, said: str) -> None:
    """It is read with the project's key, which may read everybody's."""
    error = refused(placed("image_fast", "metadata", {"reference_image_url": source}))
    assert error.field == "metadata.reference_image_url"
    assert said in str(error)

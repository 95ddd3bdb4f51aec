"""What holds for any input: a job or one clear error, and the same job however it is spelled."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.payload_error import MalformedElement, PayloadError
from tests.contract.samples import (
    CATALOGUE,
    ENVELOPES,
    JOB_ID,
    PICTURE,
    PROPERTY,
    RECORDED,
    compact,
    json_values,
    outcome,
    parsed,
    payload,
    texts,
)

FIELDS = sorted(
    {"data", "references", "resolution", "width", "height", "steps", "first_frame", "last_frame", "job_type"}
    | {name for recorded in RECORDED.values() for name in recorded}
    | {name for recorded in RECORDED.values() for name in recorded["config"]}
    | {name for recorded in RECORDED.values() for name in recorded["metadata"] or {}}
)
fields = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4)
entries = st.fixed_dictionaries({}, optional={"type": json_values, "url": json_values, "strength": json_values})


@given(element=texts)
@PROPERTY
def test_any_text_is_a_job_or_malformed(element: str) -> None:
    with suppress(MalformedElement):
        parsed(element)


@given(value=json_values)
@PROPERTY
def test_any_json_is_a_job_or_one_clear_error(value: object) -> None:
    with suppress(PayloadError):
        parsed(compact(value))


@given(
    job_type=st.sampled_from(list(CATALOGUE)),
    top=fields,
    config=fields,
    metadata=fields,
    references=st.lists(entries, max_size=2),
)
@PROPERTY
def test_a_payload_with_any_fields_is_a_job_or_an_error_with_its_id(
    job_type: str,
    top: dict[str, Any],
    config: dict[str, Any],
    metadata: dict[str, Any],
    references: list[dict[str, Any]],
) -> None:
    bent = payload(job_type, config=config, metadata=metadata, references=references) | top
    bent |= {"id": JOB_ID, "job_id": None}
    result = outcome(bent)
    if isinstance(result, PayloadError):
        assert result.job_id == JOB_ID
        assert str(result).startswith(result.field)
    else:
        assert result.id == JOB_ID
        assert result.num_images in (1, 3, 6)
        assert result.num_frames % 4 == 1
        assert result.width * result.height <= result.type.limits.pixels


@st.composite
def sdxl_jobs(draw: st.DrawFn) -> dict[str, Any]:
    """SDXL's own parameters, all valid."""
    return {
        "type": draw(st.sampled_from(["sdxl_image_fast", "sdxl_image_high"])),
        "num_images": draw(st.sampled_from([1, 3, 6])),
        "seed": draw(st.integers(0, 2**53)),
        "num_inference_steps": draw(st.integers(1, 100)),
        "guidance_scale": draw(st.floats(0, 30)),
        "width": draw(st.integers(32, 181)) * 8,
        "height": draw(st.integers(32, 181)) * 8,
        "reference_strength": draw(st.floats(0.1, 1)),
    }


@given(values=sdxl_jobs(), envelope=st.sampled_from(list(ENVELOPES)), spelled=st.sampled_from([str, float, None]))
@PROPERTY
def test_a_valid_job_means_the_same_in_every_spelling(
    values: dict[str, Any], envelope: str, spelled: type[str | float] | None
) -> None:
    job_type = values.pop("type")
    config = {name: spelled(value) if spelled else value for name, value in values.items()}
    job = parsed(ENVELOPES[envelope](payload(job_type, config=config | {"reference_image_url": PICTURE})))
    plain = payload(job_type, config={}, metadata=values, reference_image_url=PICTURE)
    assert [values[name] for name in values if name != "reference_strength"] == [
        getattr(job, name) for name in values if name != "reference_strength"
    ]
    assert [reference.strength for reference in job.references] == [values["reference_strength"]]
    again = parsed(plain)
    assert replace(job, attempt=1, references=()) == replace(again, references=())


@given(prompt=st.text(min_size=1, max_size=200).filter(lambda text: text.strip() and "\x00" not in text))
@PROPERTY
def test_a_prompt_arrives_letter_by_letter(prompt: str) -> None:
    for envelope in ENVELOPES.values():
        assert parsed(envelope(payload(prompt=prompt))).prompt == prompt

"""The one parser: every envelope and every spelling of contract sections 1 and 2 becomes one frozen `Job`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ourvidz_worker.contract import fields
from ourvidz_worker.contract.catalogue import Catalogue, JobType, Range
from ourvidz_worker.contract.envelope import Delivery, job_id_of, open_payload
from ourvidz_worker.contract.fields import Found, Sections, first_in
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.payload_error import PayloadError, shown
from ourvidz_worker.contract.references import parse_references

T = TypeVar("T")

# Version 00 of W3C Trace Context: neither id is zero.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

ANY = Range(-math.inf, math.inf)
NUM_IMAGES = (1, 3, 6)
OLDEST_NUM_IMAGES = 6
# Image i uses seed + i, and a generator's seed must stay below 2**63.
MAX_SEED = 2**63 - 1 - max(NUM_IMAGES)


def parse_job(delivery: Delivery, catalogue: Catalogue) -> Job:
    """Parse a queue element.

    Raises `MalformedElement` when the element names no job at all, and `PayloadError` with the job's id and
    the field for everything else that is wrong.
    """
    payload = open_payload(delivery.original)
    job_id = job_id_of(payload)
    try:
        return _parse(payload, job_id, delivery.attempt, catalogue)
    except PayloadError as error:
        error.job_id = job_id
        raise


def _parse(payload: Mapping[str, Any], job_id: str, attempt: int, catalogue: Catalogue) -> Job:
    job_type = _job_type(payload, catalogue)
    sections = Sections(fields.section(payload, "config"), fields.section(payload, "metadata"), payload)
    user_id = _user_id(payload)
    width, height = _size(sections, job_type)
    num_frames, requested_frames = _frames(sections, job_type)
    return Job(
        id=job_id,
        type=job_type,
        user_id=user_id,
        prompt=_prompt(payload, sections.metadata),
        negative_prompt=_negative_prompt(sections, job_type),
        bucket=_bucket(payload, job_type, catalogue),
        num_images=_num_images(sections, job_type),
        seed=_seed(sections),
        width=width,
        height=height,
        num_frames=num_frames,
        requested_frames=requested_frames,
        num_inference_steps=_steps(sections, job_type),
        guidance_scale=_guidance(sections, job_type),
        solver=_solver(sections, job_type),
        flow_shift=_flow_shift(sections, job_type),
        references=parse_references(sections, job_type, user_id=user_id, buckets=catalogue.buckets),
        created_at=_optional(payload, "created_at", fields.moment),
        image_id=_optional(payload, "image_id", fields.identifier),
        video_id=_optional(payload, "video_id", fields.identifier),
        model_variant=_optional(payload, "model_variant", fields.text),
        attempt=attempt,
        traceparent=_traceparent(sections.metadata),
    )


def _job_type(payload: Mapping[str, Any], catalogue: Catalogue) -> JobType:
    found = first_in(payload, ("type", "job_type"))
    if found is None:
        raise PayloadError("type", f"is missing; it must be one of {', '.join(catalogue)}")
    if not isinstance(found.value, str) or found.value not in catalogue:
        raise PayloadError(found.field, f"must be one of {', '.join(catalogue)}, got {shown(found.value)}")
    return catalogue[found.value]


def _user_id(payload: Mapping[str, Any]) -> str:
    found = first_in(payload, ("user_id",))
    if found is None:
        raise PayloadError("user_id", "is missing; the result's storage key begins with it")
    return fields.identifier(found)


def _prompt(payload: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """`prompt` can be "", then `metadata.prompt` counts; one must say something (contract section 2)."""
    for found in (first_in(payload, ("prompt",)), first_in(metadata, ("prompt",), "metadata.")):
        if found is not None and (prompt := fields.prose(found)).strip():
            return prompt
    raise PayloadError("prompt", "is empty, and so is metadata.prompt; say what to draw")


def _negative_prompt(sections: Sections, job_type: JobType) -> str:
    """WAN never takes a user negative prompt (contract section 2)."""
    if job_type.model_family == "wan":
        return ""
    found = first_in(sections.top, ("negative_prompt",)) or first_in(
        sections.metadata, ("negative_prompt",), "metadata."
    )
    return "" if found is None else fields.prose(found)


def _bucket(payload: Mapping[str, Any], job_type: JobType, catalogue: Catalogue) -> str:
    found = first_in(payload, ("bucket",))
    if found is None:
        return job_type.bucket
    if not isinstance(found.value, str) or found.value not in catalogue.buckets:
        raise PayloadError("bucket", f"must be one of {', '.join(catalogue.buckets)}, got {shown(found.value)}")
    return found.value


def _num_images(sections: Sections, job_type: JobType) -> int:
    """None at all means an oldest-generation producer that expects 6 (contract section 2); a video is 1."""
    found = sections.first("num_images")
    num_images = OLDEST_NUM_IMAGES if found is None else fields.whole(found, ANY)
    if found is not None and num_images not in NUM_IMAGES:
        raise PayloadError(found.field, f"must be 1, 3 or 6, got {shown(found.value)}")
    return 1 if job_type.media == "video" else num_images


def _seed(sections: Sections) -> int | None:
    found = sections.first("seed")
    return None if found is None else fields.whole(found, Range(0, MAX_SEED))


def _steps(sections: Sections, job_type: JobType) -> int:
    names = ("num_inference_steps", "steps")
    found = _parameter(sections, job_type, names, wan_name="sample_steps")
    allowed = job_type.limits.num_inference_steps
    return job_type.num_inference_steps if found is None else fields.whole(found, allowed)


def _guidance(sections: Sections, job_type: JobType) -> float:
    found = _parameter(sections, job_type, ("guidance_scale",), wan_name="sample_guide_scale")
    return job_type.guidance_scale if found is None else fields.number(found, job_type.limits.guidance_scale)


def _size(sections: Sections, job_type: JobType) -> tuple[int, int]:
    limits = job_type.limits
    found = _parameter(sections, job_type, ("resolution",), wan_name="size")
    if found is not None:
        field, (width, height) = found.field, fields.size(found)
    else:
        wide, high = (_parameter(sections, job_type, (name,)) for name in ("width", "height"))
        if wide is None and high is None:
            return job_type.width, job_type.height
        if wide is None or high is None:
            given, missing = (wide, "height") if high is None else (high, "width")
            raise PayloadError(given.field if given else missing, f"is given without {missing}; give both")
        field = wide.field
        width, height = fields.whole(wide, limits.width), fields.whole(high, limits.height)
    if width not in limits.width or height not in limits.height or width * height > limits.pixels:
        raise PayloadError(
            field,
            f"must be {limits.width} pixels wide, {limits.height} high and at most {limits.pixels} in all, "
            f"got {width}x{height}",
        )
    if width % limits.multiple_of or height % limits.multiple_of:
        raise PayloadError(field, f"must be divisible by {limits.multiple_of}, got {width}x{height}")
    return width, height


def _parameter(
    sections: Sections, job_type: JobType, names: tuple[str, ...], *, wan_name: str | None = None
) -> Found | None:
    """A parameter under its model's own names.

    SDXL jobs carry WAN's `config`, which means nothing for them, so WAN's names are never looked up there;
    for WAN, `config` overrides the catalogue (contract section 2).
    """
    if job_type.model_family == "sdxl":
        return sections.first(*names)
    return first_in(sections.config, (*((wan_name,) if wan_name else ()), *names), "config.")


def _frames(sections: Sections, job_type: JobType) -> tuple[int, int]:
    """What the model draws and what was asked for: the model needs 4k+1 frames, so 83 become 81.

    `queue-job` writes the catalogue's number into `config`, so a storyboard's scene asks for its own in `metadata`;
    a `config` that asks for another number wins.
    """
    if job_type.media == "image":
        return 1, 1
    places = ((sections.config, "config."), (sections.metadata, "metadata."))
    found = (first_in(section, ("frame_num",), place) for section, place in places)
    asked = [fields.whole(number, job_type.limits.num_frames) for number in found if number is not None]
    requested = next((number for number in asked if number != job_type.num_frames), job_type.num_frames)
    return model_frames(requested), requested


def model_frames(requested: int) -> int:
    """The frame count that the video model makes of a request: 4k+1, as diffusers' WAN pipelines round it."""
    return requested if requested % 4 == 1 else requested // 4 * 4 + 1


def _solver(sections: Sections, job_type: JobType) -> str:
    """Of SDXL jobs, WAN's `sample_solver` means nothing; their own is called `scheduler`, or `sampler`."""
    if job_type.model_family == "sdxl":
        found = sections.first("scheduler", "sampler")
    else:
        found = first_in(sections.config, ("sample_solver",), "config.")
    if found is None:
        return job_type.solver
    solver, allowed = fields.text(found), job_type.limits.solvers
    if solver not in allowed:
        raise PayloadError(found.field, f"must be one of {', '.join(allowed)}, got {shown(solver)}")
    return solver


def _flow_shift(sections: Sections, job_type: JobType) -> float:
    if job_type.model_family == "sdxl":
        return job_type.flow_shift
    found = first_in(sections.config, ("sample_shift",), "config.")
    return job_type.flow_shift if found is None else fields.number(found, job_type.limits.flow_shift)


def _traceparent(metadata: Mapping[str, Any]) -> str | None:
    """One that is not valid begins a trace of the job's own, as the standard has it."""
    value = metadata.get("traceparent")
    return value if isinstance(value, str) and _TRACEPARENT.fullmatch(value) else None


def _optional(payload: Mapping[str, Any], name: str, read: Callable[[Found], T]) -> T | None:
    found = first_in(payload, (name,))
    return None if found is None else read(found)

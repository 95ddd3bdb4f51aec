"""What clients ask for, read strictly: a wrong field is named, an unknown one passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from ourvidz_worker.contract import fields
from ourvidz_worker.contract.catalogue import Catalogue, JobType, Range
from ourvidz_worker.contract.payload_error import PayloadError, shown
from ourvidz_worker.contract.strict_json import decode, flaws
from ourvidz_worker.enhancer.presence import ClientGone
from ourvidz_worker.runtime.language.storyboard import MAX_SCENES

MAX_BODY = 256 * 1024  # bytes; the longest prompt takes less than half of it, also as \u escapes
BODY_SECONDS = 10.0
DEFAULT_VIDEO_TYPE = "video_fast"
_SEEDS = Range(0, 2**53)
_SCENES = Range(1, MAX_SCENES)
_MAX_WORD = 40


class BodyTooLarge(Exception):
    pass


class BodyTooSlow(Exception):
    pass


@dataclass(frozen=True, slots=True)
class EnhanceRequest:
    """`format` and `quality` are the job type's own; they choose it where a request names none."""

    prompt: str
    job_type: JobType
    format: str
    quality: str
    language: str | None
    seed: int | None
    fresh: bool
    stream: bool


@dataclass(frozen=True, slots=True)
class StoryboardRequest:
    script: str
    job_type: JobType
    scenes: int | None
    language: str | None
    seed: int | None


async def read_body(request: Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises `PayloadError` for anything else, `BodyTooLarge`, `BodyTooSlow`, or `ClientGone`.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _bytes(request)
    except TimeoutError:
        raise BodyTooSlow from None
    except ClientDisconnect:
        raise ClientGone from None
    try:
        document = decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise PayloadError("body", "is not UTF-8 text") from None
    except ValueError as error:
        raise PayloadError("body", str(error)) from error
    for path, problem in flaws(document):
        raise PayloadError(path or "body", problem)
    if not isinstance(document, dict):
        raise PayloadError("body", f"must be a JSON object, got {shown(document)}")
    return document


def enhance_request(body: Mapping[str, Any], catalogue: Catalogue, *, stream: bool) -> EnhanceRequest:
    """Raises `PayloadError`. Format and quality choose one of WAN's job types, and yield to one that is named."""
    kind = _one_of(body, "format", {job_type.media for job_type in catalogue.values()})
    quality = _one_of(body, "quality", {job_type.quality for job_type in catalogue.values()})
    job_type = _job_type(body, catalogue, default=f"{kind or 'image'}_{quality or 'high'}")
    return EnhanceRequest(
        prompt=_prose(body, "prompt", "original_prompt"),
        job_type=job_type,
        format=job_type.media,
        quality=job_type.quality,
        language=_word(body, "language"),
        seed=_whole(body, "seed", _SEEDS),
        fresh=_flag(body, "regeneration"),
        stream=stream or _flag(body, "stream"),
    )


def storyboard_request(body: Mapping[str, Any], catalogue: Catalogue) -> StoryboardRequest:
    """Raises `PayloadError`."""
    videos = {name: job_type for name, job_type in catalogue.items() if job_type.media == "video"}
    return StoryboardRequest(
        script=_prose(body, "script"),
        job_type=_job_type(body, videos, default=DEFAULT_VIDEO_TYPE),
        scenes=_whole(body, "scenes", _SCENES),
        language=_word(body, "language"),
        seed=_whole(body, "seed", _SEEDS),
    )


async def _bytes(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY:
            raise BodyTooLarge
    return bytes(received)


def _job_type(body: Mapping[str, Any], choice: Mapping[str, JobType], *, default: str) -> JobType:
    found = fields.first_in(body, ("job_type", "jobType"))
    name = fields.text(found) if found else default
    if name not in choice:
        field = found.field if found else "job_type"
        raise PayloadError(field, f"must be one of {', '.join(choice)}, got {shown(name)}")
    return choice[name]


def _prose(body: Mapping[str, Any], *names: str) -> str:
    found = fields.first_in(body, names)
    text = fields.prose(found) if found else ""
    if not text.strip():
        raise PayloadError(names[0], "is required and must be a text that is not empty")
    return text


def _one_of(body: Mapping[str, Any], name: str, choice: Collection[str]) -> str | None:
    word = _word(body, name)
    if word is not None and word not in choice:
        raise PayloadError(name, f"must be {' or '.join(sorted(choice))}, got {shown(word)}")
    return word


def _word(body: Mapping[str, Any], name: str) -> str | None:
    found = fields.first_in(body, (name,))
    if found is None:
        return None
    word = fields.text(found)
    if len(word) > _MAX_WORD:
        raise PayloadError(name, f"must be one word, got {len(word)} characters")
    return word


def _whole(body: Mapping[str, Any], name: str, allowed: Range) -> int | None:
    found = fields.first_in(body, (name,))
    return fields.whole(found, allowed) if found else None


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise PayloadError(name, f"must be true or false, got {shown(value)}")
    return bool(value)

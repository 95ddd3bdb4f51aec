"""Recorded payloads, made runnable again: their references point at a storage host that is long gone."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from ourvidz_worker.contract.envelope import open_delivery, open_payload
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.local.redis_commands import RedisUnreachable

REFERENCE_BUCKET = "reference_images"
REFERENCE_NAMES = (
    "reference_image_url",
    "start_reference_url",
    "start_reference_image_url",
    "end_reference_url",
    "end_reference_image_url",
    "first_frame",
    "last_frame",
)
_OBJECT_PATH = re.compile(r"/storage/v1/object/(?:sign/|public/|authenticated/)?([^/]+)/(.+)")


Recording: TypeAlias = Mapping[str, Any]
"""A payload as it was recorded."""


def read_recordings(files: list[Path]) -> list[Recording]:
    """Raises `ValueError` with one sentence per file that holds no job."""
    recordings: list[Recording] = []
    problems: list[str] = []
    for file in files:
        try:
            recordings.append(open_payload(open_delivery(file.read_text(encoding="utf-8")).original))
        except OSError as error:
            problems.append(f"{file} cannot be read: {error.strerror or error}")
        except (UnicodeDecodeError, PayloadError) as error:
            problems.append(f"{file}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return recordings


def run_recordings(
    arguments: argparse.Namespace, play: Callable[[list[Recording], argparse.Namespace], Coroutine[Any, Any, int]]
) -> int:
    """The exit code of `play`, or 2 for files without a job and 1 where the backend cannot be started."""
    try:
        recordings = read_recordings(arguments.files)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return asyncio.run(play(recordings, arguments))
    except (ConfigurationError, RedisUnreachable, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


async def submit_recording(recording: Recording, backend: EmbeddedBackend) -> str:
    """Queue a recording under its own id; gives the id.

    At each reference's bucket path a sample picture is placed and signed anew.
    """
    payload = json.loads(json.dumps(recording))
    for place, name in _references(payload):
        bucket, key = _object_of(place[name], str(payload.get("user_id")))
        url = await backend.place_reference(bucket, key, sample_picture(), "image/png")
        if "://" in place[name]:
            place[name] = url
    return await backend.submit(payload)


def _references(payload: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    sections = [payload, *(payload[name] for name in ("config", "metadata") if isinstance(payload.get(name), dict))]
    listed = [entry for section in sections for entry in section.get("references") or () if isinstance(entry, dict)]
    for section in sections:
        yield from ((section, name) for name in REFERENCE_NAMES if _is_address(section.get(name)))
    yield from ((entry, "url") for entry in listed if _is_address(entry.get("url")))


def _is_address(value: object) -> bool:
    return isinstance(value, str) and "/" in value


def _object_of(address: str, user_id: str) -> tuple[str, str]:
    """Bucket and key of a recorded reference; one that lay outside the store gets a place in it."""
    if "://" not in address:
        bucket, _, key = address.partition("/")
        return bucket, key
    path = urlsplit(address).path
    stored = _OBJECT_PATH.fullmatch(path)
    return (stored[1], stored[2]) if stored else (REFERENCE_BUCKET, f"{user_id}/{path.rsplit('/', 1)[-1]}")


def sample_picture() -> bytes:
    """A small landscape as PNG: sky, sun and a hill, enough to see what a reference did."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - only replays with references need it

    picture = Image.linear_gradient("L").resize((768, 768))
    sky = Image.merge("RGB", (picture.point(lambda v: 60 + v // 2), picture.point(lambda v: 90 + v // 3), picture))
    draw = ImageDraw.Draw(sky)
    draw.ellipse((500, 140, 640, 280), fill=(255, 214, 120))
    draw.ellipse((-200, 480, 700, 1200), fill=(52, 96, 64))
    draw.rectangle((250, 300, 300, 520), fill=(228, 224, 214))
    draw.rectangle((240, 270, 310, 304), fill=(168, 52, 44))
    buffer = io.BytesIO()
    sky.save(buffer, "PNG")
    return buffer.getvalue()

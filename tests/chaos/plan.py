"""The jobs of a run: recorded payloads made small, and a few of everything that goes wrong in a job itself."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.support.commands import PAYLOADS

USER = "b1f0c1de-0000-4000-8000-00000000a001"
REFERENCE = ("reference_images", f"{USER}/chaos.png")
PIXELS = 256
VIDEO_FRAMES = 5
OVERSIZE_BYTES = 300_000
_REFERENCES = ("reference_image_url", "start_reference_url", "end_reference_url", "first_frame", "last_frame")


class Kind(StrEnum):
    ORDINARY = "ordinary"
    HEAVY = "heavy"
    """Six large pictures, so that something is under way for a while."""
    REFERENCE = "with a reference"
    LATE_ROW = "row linked late"
    POISON = "poison"
    """Its worker dies each time it begins."""
    CANCELLED = "cancelled"
    BAD_FIELD = "bad field"
    REFUSED_PROMPT = "refused prompt"
    MALFORMED = "malformed"
    OVERSIZE = "oversize"

    @property
    def has_row(self) -> bool:
        return self not in (Kind.MALFORMED, Kind.OVERSIZE)


SHARES = {
    Kind.ORDINARY: 85.0,
    Kind.HEAVY: 1.0,
    Kind.REFERENCE: 3.0,
    Kind.LATE_ROW: 1.0,
    Kind.POISON: 0.5,
    Kind.CANCELLED: 2.5,
    Kind.BAD_FIELD: 3.0,
    Kind.REFUSED_PROMPT: 2.0,
    Kind.MALFORMED: 1.7,
    Kind.OVERSIZE: 0.3,
}


@dataclass(frozen=True, slots=True)
class Planned:
    """A job to submit: a payload, or the raw element of one that is none."""

    id: str
    kind: Kind
    queue: str
    payload: Mapping[str, Any]
    files: int

    @property
    def element(self) -> str:
        """What a producer of broken elements pushes."""
        if self.kind is Kind.OVERSIZE:
            return json.dumps({**self.payload, "padding": "x" * OVERSIZE_BYTES})
        return f'{{"id": "{self.id}", "type": broken'


def plan(count: int, seed: int) -> Iterator[Planned]:
    """`count` jobs in an order of their own for each seed, one of each kind at least from 20 jobs on."""
    dice = random.Random(f"plan {seed}")
    kinds = list(Kind) if count >= 2 * len(Kind) else []
    kinds += dice.choices(list(SHARES), list(SHARES.values()), k=count - len(kinds))
    dice.shuffle(kinds)
    recorded = recordings()
    return (_planned(kind, dice, recorded) for kind in kinds)


def small(payload: Mapping[str, Any], dice: random.Random, *, images: int = 1) -> dict[str, Any]:
    """A recorded payload as a new job that costs milliseconds."""
    job_id = str(uuid.UUID(int=dice.getrandbits(128), version=4))
    fresh = {name: job_id for name in ("id", "job_id") if name in payload}
    fresh |= {name: str(uuid.uuid4()) for name in ("image_id", "video_id") if payload.get(name)}
    steps, size = dice.randint(1, 3), f"{PIXELS}*{PIXELS}"
    config = {
        **_without_references(payload.get("config")),
        "num_images": images,
        **({"resolution": size, "steps": steps} if _is_sdxl(payload) else {"size": size, "sample_steps": steps}),
        "frame_num": VIDEO_FRAMES if "video" in _type(payload) else 1,
    }
    metadata = {**_without_references(payload.get("metadata")), "num_images": images}
    return {**_without_references(payload), **fresh, "id": job_id, "config": config, "metadata": metadata}


def _planned(kind: Kind, dice: random.Random, recorded: Sequence[Mapping[str, Any]]) -> Planned:
    stills = [payload for payload in recorded if "video" not in _type(payload)]
    recording = dice.choice(recorded if kind is Kind.ORDINARY and dice.random() < 0.3 else stills)
    is_video = "video" in _type(recording)
    images = 6 if kind is Kind.HEAVY else 1 if is_video else dice.choice((1, 1, 1, 3))
    payload = small(recording, dice, images=images)
    match kind:
        case Kind.HEAVY:
            payload["config"] |= {"resolution": "1024*1024", "size": "832*832"}
        case Kind.REFERENCE:
            reference = {"reference_image_url": "/".join(REFERENCE), "reference_type": "style"}
            payload["metadata"] |= {**reference, "reference_strength": 0.5}
        case Kind.BAD_FIELD:
            payload["config"]["num_images"] = 2
        case Kind.REFUSED_PROMPT:
            payload["prompt"] = "nude 12 year old"
    return Planned(payload["id"], kind, "sdxl_queue" if _is_sdxl(recording) else "wan_queue", payload, images)


def recordings() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(PAYLOADS.glob("*.json"))]


def _type(payload: Mapping[str, Any]) -> str:
    return str(payload.get("type") or payload["job_type"])


def _is_sdxl(payload: Mapping[str, Any]) -> bool:
    return _type(payload).startswith("sdxl")


def _without_references(section: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (section or {}).items() if name not in (*_REFERENCES, "references")}

"""A job, parsed once: what every other part of the worker reads instead of the payload."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ourvidz_worker.contract.catalogue import JobType

ReferenceRole = Literal["style", "composition", "character", "start", "end"]
IMAGE_ROLES: tuple[ReferenceRole, ...] = ("style", "composition", "character")
FRAME_ROLES: tuple[ReferenceRole, ...] = ("start", "end")


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture that steers a generation.

    `source` is a full URL or a path that begins with its bucket; `strength` runs from 0.1 (little influence)
    to 1.0 (strong), in the same direction for every role.
    """

    role: ReferenceRole
    source: str
    strength: float
    field: str


@dataclass(frozen=True, slots=True)
class Job:
    """One generation as the payload asks for it, with the catalogue's defaults filled in.

    `width` and `height` are pixels. `num_frames` is what the model will draw (4k+1) and `requested_frames`
    what the payload asked for; both are 1 for stills. `num_images` is 1 for a video. `seed` is None when the
    payload leaves it to the worker. `solver` is WAN's solver or SDXL's scheduler. `attempt` counts deliveries from 1.
    `traceparent` is the producer's trace as W3C Trace Context writes it.
    """

    id: str
    type: JobType
    user_id: str
    prompt: str
    negative_prompt: str
    bucket: str
    num_images: int
    seed: int | None
    width: int
    height: int
    num_frames: int
    requested_frames: int
    num_inference_steps: int
    guidance_scale: float
    solver: str
    flow_shift: float
    references: tuple[Reference, ...] = ()
    created_at: datetime | None = None
    image_id: str | None = None
    video_id: str | None = None
    model_variant: str | None = None
    attempt: int = 1
    traceparent: str | None = None

    @property
    def is_video(self) -> bool:
        return self.type.media == "video"

    @property
    def expected_seconds(self) -> float:
        """The catalogue's expectation for this job; SDXL's is per image (contract section 3)."""
        return self.type.expected_seconds * (self.num_images if self.type.expected_per_image else 1)

    def seeds(self, first: int) -> tuple[int, ...]:
        """Image i of a job uses `first + i` (contract section 2)."""
        return tuple(first + index for index in range(self.num_images))

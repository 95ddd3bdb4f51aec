"""Where a result lies inside its bucket (contract section 4)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from ourvidz_worker.contract.job import Job

StorageLayout = Literal["current", "legacy"]


def storage_key(job: Job, index: int = 0, *, layout: StorageLayout = "current") -> str:
    """The key of picture `index` (from 0) or of the video.

    A key depends on the job alone, so a second upload overwrites the first. The legacy layout carries the
    seconds since 1970 of `created_at`, 0 where a producer sends none. The ids were checked by the parser.
    """
    if layout == "current":
        return f"{job.user_id}/{job.id}.mp4" if job.is_video else f"{job.user_id}/{job.id}_{index}.png"
    timestamp = int(job.created_at.timestamp()) if job.created_at else 0
    if job.is_video:
        return f"{job.id}_{timestamp}.mp4"
    if job.type.model_family == "sdxl":
        return f"{job.user_id}/sdxl_{job.id}_{timestamp}_{index}.png"
    # Producers of this layout asked WAN for one still; a batch needs the index to stay apart.
    suffix = f"_{index}" if job.num_images > 1 else ""
    return f"{job.user_id}/{job.id}_{timestamp}{suffix}.png"


def thumbnail_key(key: str) -> str:
    """Beside the picture or video, in every layout: `{user}/{job}_0.png` has `{user}/{job}_0.thumb.webp`."""
    return str(PurePosixPath(key).with_suffix(".thumb.webp"))

"""What an engine made and what was written of it, looked at in full before it may be sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import OutputInvalid

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


def check_frames(job: Job, frames: Pixels) -> None:
    """An engine's output must be what the job asked for, to the pixel; raises `OutputInvalid`."""
    count = job.num_frames if job.is_video else job.num_images
    expected = (count, job.height, job.width, 3)
    if frames.shape != expected or frames.dtype != np.uint8:
        raise OutputInvalid(
            f"the engine made {frames.dtype} pixels of shape {frames.shape} where uint8 pixels of shape "
            f"{expected} were asked for"
        )


def check_png(path: Path, width: int, height: int) -> None:
    """Decode a PNG in full; raises `OutputInvalid` when it is damaged or not RGB of this size in pixels."""
    _check_picture(path, "PNG", width, height)


def check_webp(path: Path, width: int, height: int) -> None:
    """As `check_png`."""
    _check_picture(path, "WEBP", width, height)


def check_mp4(path: Path, width: int, height: int, frames: int) -> None:
    """Decode an MP4 in full; raises `OutputInvalid` when codec, size in pixels or frame count is off."""
    try:
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            decoded = sum(1 for _ in container.decode(video=0))
            found = (context.name, context.pix_fmt, context.width, context.height, decoded)
    except (OSError, ValueError, IndexError) as error:
        raise OutputInvalid(f"the clip {path.name} does not decode: {error}") from error
    expected = ("h264", "yuv420p", width, height, frames)
    if found != expected:
        raise OutputInvalid(f"the clip {path.name} is {found} where {expected} was written")


def _check_picture(path: Path, image_format: str, width: int, height: int) -> None:
    try:
        with Image.open(path, formats=[image_format]) as image:
            image.load()
            found = (image.mode, *image.size)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise OutputInvalid(f"the picture {path.name} does not decode: {error}") from error
    if found != ("RGB", width, height):
        raise OutputInvalid(f"the picture {path.name} is {found} where ('RGB', {width}, {height}) was written")

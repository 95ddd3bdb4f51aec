"""Frames become files: PNG for stills, H.264 in MP4 for clips, each decoded again before it may be sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import OutputInvalid
from ourvidz_worker.ports import Asset, Generation, GenerationRequest

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

PNG_COMPRESSION = 3  # of 9: a quarter larger than the best, several times faster
H264_OPTIONS = {"crf": "18", "preset": "fast"}


class FileEncoder:
    """Writes PNGs or one MP4 and checks what it wrote. Holds no state: usable from any thread."""

    def encode(self, request: GenerationRequest, generation: Generation, folder: Path) -> tuple[Asset, ...]:
        """Write the assets of a job into `folder`; raises `OutputInvalid` when one does not come out right."""
        job = request.job
        check_frames(job, generation.frames)
        if job.is_video:
            return (_clip(job, generation.frames, request.seed, folder / "video.mp4"),)
        return tuple(
            _still(job, pixels, seed, folder / f"{index}.png")
            for index, (pixels, seed) in enumerate(zip(generation.frames, job.seeds(request.seed), strict=True))
        )


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
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            found = (image.mode, *image.size)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise OutputInvalid(f"the picture {path.name} does not decode: {error}") from error
    if found != ("RGB", width, height):
        raise OutputInvalid(f"the picture {path.name} is {found} where ('RGB', {width}, {height}) was written")


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


def _still(job: Job, pixels: Pixels, seed: int, path: Path) -> Asset:
    Image.fromarray(pixels).save(path, format="PNG", compress_level=PNG_COMPRESSION)
    check_png(path, job.width, job.height)
    return _asset(job, path, frames=1, seed=seed)


def _clip(job: Job, frames: Pixels, seed: int, path: Path) -> Asset:
    # faststart moves the index to the front, so that a browser plays while it loads; it needs a real file.
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=job.type.fps, options=H264_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = job.width, job.height, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    check_mp4(path, job.width, job.height, len(frames))
    return _asset(job, path, frames=len(frames), seed=seed)


def _asset(job: Job, path: Path, *, frames: int, seed: int) -> Asset:
    return Asset(path, job.type.media_type, path.stat().st_size, job.width, job.height, frames, seed)

"""Frames become files: PNG for stills, MP4 for clips, each marked and decoded again before it may be sent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from ourvidz_worker.contract.catalogue import THUMBNAIL_MEDIA_TYPE
from ourvidz_worker.contract.job import Job
from ourvidz_worker.engines.media.checks import check_frames, check_mp4, check_png, check_webp
from ourvidz_worker.engines.media.clips import Clip
from ourvidz_worker.engines.media.coding import X264, VideoCoding
from ourvidz_worker.engines.media.footage import FilmedClip
from ourvidz_worker.engines.media.options import DEFAULT_OPTIONS, Embeddable, MediaOptions
from ourvidz_worker.engines.media.pictures import BEST_COMPRESSION, FAST_COMPRESSION, write_png, write_thumbnail
from ourvidz_worker.engines.media.provenance import xmp_packet
from ourvidz_worker.engines.media.reduction import reduced
from ourvidz_worker.errors import OutputInvalid
from ourvidz_worker.ports import Asset, BucketLimit, Encoded, Footage, Generation, GenerationRequest

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


class FileEncoder:
    """Writes PNGs or one MP4 with their thumbnails and checks what it wrote; usable from any thread.

    Raises `ConfigurationError` when it shall sign, or use NVIDIA's encoder, and cannot.
    """

    def __init__(self, model_name: str, options: MediaOptions = DEFAULT_OPTIONS) -> None:
        self._model_name = model_name
        self._options = options
        self._video = VideoCoding(options.video_encoder)
        self._signer = None
        if options.signing is not None:
            from ourvidz_worker.engines.media.signing import ManifestSigner  # noqa: PLC0415 - brings a native library

            self._signer = ManifestSigner(options.signing)

    def film(self, request: GenerationRequest, folder: Path) -> Footage | None:
        job = request.job
        if not job.is_video:
            return None
        return FilmedClip(folder, self._video, fps=job.type.fps, height=job.height, width=job.width)

    def encode(
        self,
        request: GenerationRequest,
        generation: Generation,
        folder: Path,
        limit: BucketLimit,
        footage: Footage | None = None,
    ) -> Encoded:
        """Write the assets of a job into `folder`; one that no encoding makes small enough stays too large.

        Raises `OutputInvalid` when one does not come out right, `ConfigurationError` when none can be signed any more.
        """
        job, frames = request.job, generation.frames
        check_frames(job, frames)
        thumbnails = self._wants_thumbnails(job, limit)
        if job.is_video:
            clip = Clip(frames, job.type.fps, self._xmp(request, request.seed))
            return self._clip(request, clip, folder / "video.mp4", limit, footage, thumbnails=thumbnails)
        stills = (
            self._still(request, pixels, seed, folder / f"{index}.png", limit, thumbnails=thumbnails)
            for index, (pixels, seed) in enumerate(zip(frames, job.seeds(request.seed), strict=True))
        )
        return Encoded(tuple(stills))

    def _still(
        self,
        request: GenerationRequest,
        pixels: Pixels,
        seed: int,
        path: Path,
        limit: BucketLimit,
        *,
        thumbnails: bool,
    ) -> Asset:
        job, xmp = request.job, self._xmp(request, seed)
        for compression in (FAST_COMPRESSION, BEST_COMPRESSION):
            write_png(pixels, path, xmp, compression=compression)
            self._sign(job.type.media_type, path)
            if limit.holds(path.stat().st_size):
                break
        check_png(path, job.width, job.height)
        thumbnail = self._thumbnail(pixels, path, xmp, seed) if thumbnails else None
        return Asset(path, job.type.media_type, path.stat().st_size, job.width, job.height, 1, seed, thumbnail)

    def _clip(
        self,
        request: GenerationRequest,
        clip: Clip,
        path: Path,
        limit: BucketLimit,
        footage: Footage | None,
        *,
        thumbnails: bool,
    ) -> Encoded:
        job, frames = request.job, clip.frames
        media_type, count = job.type.media_type, len(frames)
        details = {"video_encoder": self._written(clip, path, footage)}
        self._sign(media_type, path)
        details |= self._fit(clip, path, limit, media_type)
        check_mp4(path, job.width, job.height, count)
        thumbnail = self._thumbnail(frames[count // 2], path, clip.xmp, request.seed) if thumbnails else None
        size = path.stat().st_size
        return Encoded((Asset(path, media_type, size, job.width, job.height, count, request.seed, thumbnail),), details)

    def _written(self, clip: Clip, path: Path, footage: Footage | None) -> str:
        """Write the clip, out of its footage if that is whole; returns the encoder that did it."""
        encoder = footage.finished(path, len(clip.frames)) if isinstance(footage, FilmedClip) else None
        if encoder is None:
            return clip.write(path, self._video)
        clip.mark(path)
        return encoder

    def _fit(self, clip: Clip, path: Path, limit: BucketLimit, media_type: str) -> Mapping[str, Any]:
        """Make the file small enough if that can be done; returns what the result metadata says of it."""
        size = path.stat().st_size
        if limit.limit_bytes is None or limit.holds(size):
            return {}
        log = structlog.get_logger().bind(bytes=size, limit_bytes=limit.limit_bytes)
        if not reduced(clip, path, limit.limit_bytes, partial(self._sign, media_type)):
            log.warning("video_too_large")
            return {}
        bit_rate = round(path.stat().st_size * 8 / clip.seconds)
        log.info("video_bitrate_reduced", bit_rate=bit_rate)
        return {"video_encoder": X264.encoder, "video_bitrate_reduced": True, "video_bit_rate": bit_rate}

    def _wants_thumbnails(self, job: Job, limit: BucketLimit) -> bool:
        allowed = limit.allows(THUMBNAIL_MEDIA_TYPE)
        if self._options.thumbnails and not allowed:
            problem = f"bucket {job.bucket} takes no {THUMBNAIL_MEDIA_TYPE}: allow it in the bucket's settings"
            structlog.get_logger().info("thumbnails_left_out", problem=problem)
        return self._options.thumbnails and allowed

    def _thumbnail(self, pixels: Pixels, path: Path, xmp: str, seed: int) -> Asset | None:
        small = path.with_suffix(".thumb.webp")
        try:
            width, height = write_thumbnail(pixels, small, xmp)
            self._sign(THUMBNAIL_MEDIA_TYPE, small)
            check_webp(small, width, height)
        except (OutputInvalid, OSError) as error:  # not worth the picture that it shows
            structlog.get_logger().warning("thumbnails_left_out", problem=str(error))
            small.unlink(missing_ok=True)
            return None
        return Asset(small, THUMBNAIL_MEDIA_TYPE, small.stat().st_size, width, height, 1, seed)

    def _sign(self, media_type: str, path: Path) -> None:
        if self._signer is not None:
            self._signer.sign(path, media_type)

    def _xmp(self, request: GenerationRequest, seed: int) -> str:
        job = request.job
        known: dict[Embeddable, str] = {
            "prompt": request.prompt,
            "user_id": job.user_id,
            "job_id": job.id,
            "seed": str(seed),
        }
        return xmp_packet(self._model_name, {name: known[name] for name in known if name in self._options.embed})

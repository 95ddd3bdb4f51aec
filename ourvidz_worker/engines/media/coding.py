"""Which encoder of H.264 is used: NVIDIA's where the card has one, else libx264."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from threading import Lock

import av
import structlog

from ourvidz_worker.engines.media.options import VideoEncoder
from ourvidz_worker.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Coding:
    """An encoder by its name in FFmpeg, and what it is told."""

    encoder: str
    options: Mapping[str, str]


X264_PRESET = {"preset": "fast", "qmax": "48"}  # of 51: coarser, and a moving picture is blocks
X264 = Coding("libx264", X264_PRESET | {"crf": "18"})
NVENC = Coding(
    "h264_nvenc",
    {
        "preset": "p5",
        "tune": "hq",
        "profile": "high",
        # A constant quality; without the zero, a bit rate of 2 Mbit/s would limit it.
        "rc": "vbr",
        "cq": "19",
        "b": "0",
        "qmax": "48",
        "spatial-aq": "1",
    },
)

_PROBE_SIDE = 256  # NVIDIA's encoders take no clip that is much smaller

Probe = Callable[[Coding], str | None]
"""What keeps an encoder from working on this machine, or None."""


def problem_of(coding: Coding) -> str | None:
    """Open the encoder for a moment: without a driver that fails within milliseconds."""
    try:
        context = av.codec.CodecContext.create(coding.encoder, "w")
        context.width = context.height = _PROBE_SIDE
        context.pix_fmt = "yuv420p"
        context.time_base, context.framerate = Fraction(1, 16), Fraction(16)
        context.options = dict(coding.options)
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        return str(error)
    return None


class VideoCoding:
    """The encoder in use, looked for with the first clip; usable from any thread.

    One that fails is not tried again in this process. Raises `ConfigurationError` where NVIDIA's encoder is demanded
    and does not open.
    """

    def __init__(self, wanted: VideoEncoder, probe: Probe = problem_of) -> None:
        self._probe = probe
        self._lock = Lock()
        self._current = X264 if wanted == "x264" else None
        if wanted == "nvenc":
            if (problem := probe(NVENC)) is not None:
                raise ConfigurationError(
                    f"OURVIDZ_VIDEO_ENCODER = nvenc, but NVIDIA's encoder does not open here ({problem}): set it to "
                    "auto, or choose a card that has one (A100, H100 and H200 have none)"
                )
            self._current = NVENC

    def current(self) -> Coding:
        with self._lock:
            if self._current is None:
                self._current = NVENC if self._probe(NVENC) is None else X264
            return self._current

    def give_up(self, coding: Coding, problem: Exception) -> bool:
        """Do without an encoder that failed from now on; False where there is no other one."""
        if coding == X264:
            return False
        with self._lock:
            self._current = X264
        structlog.get_logger().warning("video_encoder_given_up", encoder=coding.encoder, problem=str(problem))
        return True

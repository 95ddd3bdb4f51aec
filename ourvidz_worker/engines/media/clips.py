"""H.264 in MP4: at constant quality, or in two passes for a bit rate."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av

from ourvidz_worker.engines.media.coding import X264, X264_PRESET, Coding, VideoCoding
from ourvidz_worker.engines.media.provenance import MP4_BOX
from ourvidz_worker.engines.media.reel import Reel

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames to be encoded: RGB, shape (n, height, width, 3), with the packet of XMP that their file carries."""

    frames: Pixels
    fps: int
    xmp: str

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.fps

    def write(self, path: Path, video: VideoCoding) -> str:
        """In the quality that is meant for everybody; returns the encoder that did it."""
        coding = video.current()
        try:
            self._encode(str(path), coding)
        except av.error.FFmpegError as error:
            if not video.give_up(coding, error):
                raise
            return self.write(path, video)
        self.mark(path)
        return coding.encoder

    def learn(self, bit_rate: int, notes: Path) -> None:
        """The first pass: note which frames need how much; `notes` is a file name for that."""
        self._encode(os.devnull, _in_two_passes(bit_rate, "+pass1", notes), "null")

    def write_at(self, bit_rate: int, notes: Path, path: Path) -> None:
        """The second pass, in bits per second of about the rate that was learned for.

        Raises av's `ExternalError` for a rate that the coarsest bearable quality would exceed.
        """
        self._encode(str(path), _in_two_passes(bit_rate, "+pass2", notes))
        self.mark(path)

    def mark(self, path: Path) -> None:
        """Put the XMP into the clip's file, behind everything else, so that no offset in the index changes."""
        content = self.xmp.encode()
        with path.open("ab") as file:
            file.write(struct.pack(">I4s16s", 24 + len(content), b"uuid", MP4_BOX) + content)

    def _encode(self, target: str, coding: Coding, container_format: str = "mp4") -> None:
        height, width = self.frames.shape[1:3]
        with Reel(target, coding, fps=self.fps, height=height, width=width, container_format=container_format) as reel:
            for pixels in self.frames:
                reel.add(pixels)


def _in_two_passes(bit_rate: int, flags: str, notes: Path) -> Coding:
    told: Mapping[str, str] = {"b": str(bit_rate), "flags": flags, "passlogfile": str(notes)}
    return Coding(X264.encoder, X264_PRESET | dict(told))

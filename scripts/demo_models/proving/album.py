"""Pictures that were drawn for the proof, kept small on disk, so that a proof can go on where it stopped."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scripts.demo_models.measuring import smaller
from scripts.demo_models.painting import Pixels

SHORT_SIDE = 512
CLIP_SHORT_SIDE = 240
KEPT_FRAMES = 9
"""Pixels and frames that are kept of a picture and of a clip."""


class Album:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seconds: list[float] = []

    def kept(self, name: str, draw: Callable[[], Pixels]) -> Pixels:
        """The frames of that name, shape (n, height, width, 3), small; drawn if there are none yet."""
        file = self._folder / f"{name}.npz"
        if not file.is_file():
            began = time.monotonic()
            frames = shrunk(draw())
            self._seconds.append(time.monotonic() - began)
            file.parent.mkdir(parents=True, exist_ok=True)
            aside = file.with_suffix(".new.npz")
            np.savez_compressed(aside, frames=frames)
            aside.replace(file)
            return frames
        with np.load(file) as kept:
            return np.asarray(kept["frames"], np.uint8)

    @property
    def median_seconds(self) -> float | None:
        """For one picture or clip, of those drawn now."""
        return round(statistics.median(self._seconds), 2) if self._seconds else None


def shrunk(frames: Pixels) -> Pixels:
    """Of a clip, frames at equal distances, the first and the last among them."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), KEPT_FRAMES)).round().astype(int)
    side = SHORT_SIDE if len(frames) == 1 else CLIP_SHORT_SIDE
    return np.stack([smaller(frames[index], side) for index in chosen])

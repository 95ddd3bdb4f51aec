"""The frames that a WAN generation starts from when a job carries references."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.fitting import cover_crop
from ourvidz_worker.ports import ReferenceImage


def reference_frames(references: Sequence[ReferenceImage], canvas: Canvas, num_frames: int) -> list[Image.Image]:
    """One reference is held for all frames; a start and an end become a linear cross-fade between them."""
    pictures = [cover_crop(image.pixels, canvas.width, canvas.height) for image in references]
    start, end = pictures[0], pictures[-1]
    if start is end:
        return [start] * num_frames
    return [Image.blend(start, end, index / max(num_frames - 1, 1)) for index in range(num_frames)]

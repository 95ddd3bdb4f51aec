"""The one rule by which a picture is made to fit a job's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


def cover_crop(pixels: Pixels, width: int, height: int) -> Image.Image:
    """Scale a picture until it covers `width` x `height` pixels, then crop what juts out, evenly on both sides.

    `pixels` is RGB, shape (height, width, 3).
    """
    return ImageOps.fit(Image.fromarray(pixels), (width, height), Image.Resampling.LANCZOS)

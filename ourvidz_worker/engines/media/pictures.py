"""PNG for what was asked for, WEBP for the thumbnails. Pixels are RGB, shape (height, width, 3)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ourvidz_worker.engines.media.provenance import PNG_KEYWORD, SOFTWARE

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

FAST_COMPRESSION = 3  # of 9: a quarter larger than the best, several times faster
BEST_COMPRESSION = 9

THUMBNAIL_SIDE = 256
PREVIEW_BYTES = 16_384
_PREVIEW_QUALITIES = (70, 40, 10)
_WEBP_QUALITY = 80
_WEBP_EFFORT = 2  # of 6: a few percent larger than the best, in a third of the time


def write_png(pixels: Pixels, path: Path, xmp: str, *, compression: int = FAST_COMPRESSION) -> None:
    texts = PngInfo()
    texts.add_text("Software", SOFTWARE)
    texts.add_itxt(PNG_KEYWORD, xmp)
    Image.fromarray(pixels).save(path, format="PNG", compress_level=compression, pnginfo=texts)


def write_thumbnail(pixels: Pixels, path: Path, xmp: str) -> tuple[int, int]:
    """Write a WEBP of at most 256 pixels on its longer side; returns its width and height."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    picture.save(path, format="WEBP", quality=_WEBP_QUALITY, method=_WEBP_EFFORT, xmp=xmp.encode())
    return picture.size


def preview(pixels: Pixels) -> bytes:
    """A WEBP of at most 16 kB, without a word on its job; raises `ValueError` for a picture too large for that."""
    picture = Image.fromarray(pixels)
    for quality in _PREVIEW_QUALITIES:
        buffer = BytesIO()
        picture.save(buffer, format="WEBP", quality=quality, method=_WEBP_EFFORT)
        if buffer.tell() <= PREVIEW_BYTES:
            return buffer.getvalue()
    raise ValueError(f"a preview of {picture.width} x {picture.height} pixels takes more than {PREVIEW_BYTES} bytes")

"""Reference pictures from untrusted bytes to upright, opaque RGB."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ourvidz_worker.backend.references.picture_files import excess

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

FORMATS = ("PNG", "JPEG", "WEBP")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")

# A hostile file can make a decoder warn once for each of sixty thousand entries.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class PictureUnusable(ValueError):
    """Why these bytes are no usable picture, as the rest of a sentence that begins with its name."""


def decode_picture(content: bytes, *, max_pixels: int) -> Pixels:
    """The picture in `content` as RGB, shape (height, width, 3), with its EXIF orientation applied.

    Transparency is laid on white; what else the file holds (places, names, colour profiles) stays behind. Its make
    and size are judged before any pixel is decoded. Raises `PictureUnusable` for anything but one still PNG, JPEG or
    WEBP of at most `max_pixels`.
    """
    problem = excess(content)
    if problem:
        raise PictureUnusable(f"{problem}; save it anew in a picture editor")
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            _check(image, max_pixels)
            return np.array(_opaque(ImageOps.exif_transpose(image)))
    except PictureUnusable:
        raise
    except UnidentifiedImageError as error:
        raise PictureUnusable(f"is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture") from error
    except _BOMBS as error:
        raise PictureUnusable(f"has more than {max_pixels} pixels; make it smaller") from error
    except Exception as error:  # decoders answer hostile bytes with errors of any kind
        raise PictureUnusable("is damaged and cannot be decoded") from error


def _check(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise PictureUnusable(f"is {image.width}x{image.height}, more than {max_pixels} pixels; make it smaller")
    # Cameras store previews as further frames of a JPEG (MPO); the first is the photograph.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise PictureUnusable("is animated; send a still picture")


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        # Pillow's own conversion clips 16 bits instead of scaling them.
        image = Image.fromarray((np.asarray(image, np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")

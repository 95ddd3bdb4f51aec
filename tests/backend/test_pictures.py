"""Reference pictures are untrusted bytes."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ourvidz_worker.backend.pictures import PictureUnusable, decode_picture

LIMIT = 40_000_000


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_still_picture_becomes_rgb_rows_of_pixels(kind: str) -> None:
    pixels = decode_picture(saved(Image.new("RGB", (40, 20), (200, 100, 50)), kind), max_pixels=LIMIT)
    assert pixels.shape == (20, 40, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 4
    assert pixels.flags.writeable


def test_the_camera_orientation_is_applied() -> None:
    """Phones store a portrait lying down and say so in EXIF."""
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 40, 4))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    pixels = decode_picture(saved(image, "JPEG", exif=exif), max_pixels=LIMIT)
    assert pixels.shape == (40, 20, 3)
    assert pixels[:, -1].min() > 200
    assert pixels[:, 0].max() < 50


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white(kind: str) -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 255, 255))
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decode_picture(saved(image, kind, **options), max_pixels=LIMIT)
    assert (pixels[0, 0].tolist(), pixels[3, 3].tolist()) == ([0, 0, 255], [255, 255, 255])


def test_a_transparent_palette_is_laid_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    pixels = decode_picture(saved(image, transparency=0), max_pixels=LIMIT)
    assert pixels[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    image = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    pixels = decode_picture(saved(image), max_pixels=LIMIT)
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "CMYK"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    image = Image.new("RGB", (8, 8), "white").convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decode_picture(saved(image, kind), max_pixels=LIMIT).mean() > 250


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "is not a PNG, JPEG or WEBP", id="nothing"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a PNG, JPEG or WEBP", id="SVG"),
        pytest.param(b"<!doctype html><p>gone", "is not a PNG, JPEG or WEBP", id="HTML"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a PNG, JPEG or WEBP", id="PostScript"),
        pytest.param(saved(Image.new("RGB", (8, 8)), "GIF"), "is not a PNG, JPEG or WEBP", id="GIF"),
        pytest.param(saved(Image.new("RGB", (8, 8)), "TIFF"), "is not a PNG, JPEG or WEBP", id="TIFF"),
        pytest.param(saved(Image.new("RGB", (64, 64)))[:60], "damaged", id="a PNG cut short"),
        pytest.param(saved(Image.new("RGB", (64, 64)), "JPEG")[:-200], "damaged", id="a JPEG cut short"),
        pytest.param(png_claiming(100, 100), "damaged", id="a PNG without its pixels"),
        pytest.param(png_claiming(8000, 6000), "8000x6000", id="48 megapixels"),
        pytest.param(png_claiming(10_000, 10_000), "more than 40000000 pixels", id="100 megapixels"),
        pytest.param(png_claiming(60_000, 60_000), "more than 40000000 pixels", id="a decompression bomb"),
    ],
)
def test_anything_but_one_good_picture_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(PictureUnusable, match=says):
        decode_picture(content, max_pixels=LIMIT)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    animated = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    with pytest.raises(PictureUnusable, match="animated"):
        decode_picture(animated, max_pixels=LIMIT)


def test_a_photograph_with_a_stored_preview_is_one_picture() -> None:
    """Cameras store previews as further frames of a JPEG."""
    photo, preview = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (8, 8), "blue")
    pixels = decode_picture(saved(photo, "MPO", save_all=True, append_images=[preview]), max_pixels=LIMIT)
    assert pixels.shape == (32, 32, 3)

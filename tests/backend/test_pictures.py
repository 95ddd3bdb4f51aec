"""Reference pictures are untrusted bytes."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from ourvidz_worker.backend.references.pictures import PictureUnusable, decode_picture

LIMIT = 40_000_000


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_claiming(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of any size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def webp_claiming(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = saved(Image.new("RGB", (8, 8)), "WEBP")[12:]
    body = b"WEBPVP8X" + len(canvas).to_bytes(4, "little") + canvas + frame
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def png_with(*chunks: bytes) -> bytes:
    """A good small PNG with more chunks before its pixels."""
    png = saved(Image.new("RGB", (8, 8)))
    header_end = 33
    return png[:header_end] + b"".join(chunks) + png[header_end:]


def jpeg_with(segments: bytes) -> bytes:
    jpeg = saved(Image.new("RGB", (8, 8)), "JPEG")
    return jpeg[:2] + segments + jpeg[2:]


def jpeg_with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` more times."""
    jpeg = saved(Image.new("RGB", (64, 64), "red"), "JPEG", progressive=True)
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + scan * count + jpeg[-2:]


def exif_claiming(tags: int) -> bytes:
    """An EXIF block of which each tag claims more bytes than there are, and so earns a warning."""
    entries = b"".join(struct.pack(">HHII", tag, 7, 1 << 20, 8) for tag in range(1, tags + 1))
    return b"MM\0*" + struct.pack(">IH", 8, tags) + entries + bytes(4)


ZIP_BOMB = zlib.compress(bytes(30 * 1024 * 1024), 9)
PROFILE = zlib.compress(bytes(1000))


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


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"GIF87a" + bytes(100), id="GIF87a"),
        pytest.param(b"8BPS\0\1" + bytes(100), id="PSD"),
        pytest.param(b"MM\0*" + bytes(100), id="TIFF"),
        pytest.param(b"\xc5\xd0\xd3\xc6" + bytes(100), id="binary EPS"),
        pytest.param(b"%PDF-1.7\n" + bytes(100), id="PDF"),
        pytest.param(b"<?xml version='1.0'?><svg onload='x'/>", id="SVG with a prologue"),
        pytest.param(b"\x1f\x8b\x08" + bytes(100), id="SVGZ"),
        pytest.param(b"BM" + bytes(100), id="BMP"),
        pytest.param(b"\0\0\1\0" + bytes(100), id="ICO"),
        pytest.param(b"\0\0\0\x20ftypavif" + bytes(100), id="AVIF"),
        pytest.param(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), id="JPEG 2000"),
        pytest.param(b"\xd7\xcd\xc6\x9a" + bytes(100), id="WMF"),
        pytest.param(b"RIFF\x64\0\0\0AVI " + bytes(100), id="AVI"),
        pytest.param(b"#!/bin/sh\n", id="a script"),
    ],
)
def test_other_formats_are_refused_by_their_bytes(content: bytes) -> None:
    with pytest.raises(PictureUnusable, match=r"^is not a PNG, JPEG or WEBP picture$"):
        decode_picture(content, max_pixels=LIMIT)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(png_with(chunk(b"zTXt", b"a\0\0" + ZIP_BOMB)), "damaged", id="zTXt"),
        pytest.param(png_with(chunk(b"iTXt", b"a\0\1\0\0\0" + ZIP_BOMB)), "damaged", id="iTXt"),
        pytest.param(png_with(chunk(b"iCCP", b"a\0\0" + ZIP_BOMB)), "damaged", id="iCCP"),
        pytest.param(
            png_with(*[chunk(b"iCCP", b"a\0\0" + PROFILE)] * 65), "more than 64 compressed", id="many profiles"
        ),
        pytest.param(png_with(*[chunk(b"zTXt", b"a\0\0" + PROFILE[:-1])] * 65), "more than 64 compr", id="many texts"),
        pytest.param(png_with(chunk(b"prIv", b"") * 20_001), "more than 20000 chunks", id="many chunks"),
        pytest.param(jpeg_with(b"\xff\xfe\0\2" * 20_001), "more than 20000 segments", id="many comments"),
        pytest.param(jpeg_with(b"\xff" * 20_001), "more than 20000 segments", id="much padding"),
        pytest.param(jpeg_with(bytes(20_001)), "more than 20000 segments", id="much between segments"),
        pytest.param(jpeg_with_scans(101), "more than 100 scans", id="many scans"),
        pytest.param(webp_claiming(16_383, 16_383), "more than 40000000 pixels", id="a WEBP of 268 megapixels"),
    ],
)
def test_a_small_file_that_asks_for_much_work_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(PictureUnusable, match=says):
        decode_picture(content, max_pixels=LIMIT)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png_with(chunk(b"zTXt", b"a\0\0" + PROFILE) * 3), id="PNG"),
        pytest.param(jpeg_with_scans(50), id="JPEG"),
        pytest.param(jpeg_with(b"\xff\xfe\0\2" * 1000), id="JPEG with comments"),
        pytest.param(saved(Image.new("RGB", (8, 8)), "JPEG") + b"\xff\xda\0\0" * 200, id="JPEG with a video behind it"),
    ],
)
def test_what_cameras_and_editors_write_is_modest(content: bytes) -> None:
    assert decode_picture(content, max_pixels=LIMIT).shape[2] == 3


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8L"]),
)
def test_any_bytes_end_in_a_picture_or_a_sentence(content: bytes, signature: bytes) -> None:
    with suppress(PictureUnusable):
        decode_picture(signature + content, max_pixels=LIMIT)


@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.data())
def test_a_good_file_with_some_wrong_bytes_does_no_harm(kind: str, data: st.DataObject) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = bytearray(saved(Image.new("RGB", (16, 8), "red"), kind, exif=exif))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    with suppress(PictureUnusable):
        assert decode_picture(bytes(content), max_pixels=10_000).size <= 3 * 10_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_pixels_of_every_format_are_limited(kind: str) -> None:
    with pytest.raises(PictureUnusable, match="is 8x8, more than 63 pixels; make it smaller"):
        decode_picture(saved(Image.new("RGB", (8, 8)), kind), max_pixels=63)


def test_a_decoder_that_breaks_in_its_own_way_is_a_damaged_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", breaks)
    with pytest.raises(PictureUnusable, match="damaged"):
        decode_picture(saved(Image.new("RGB", (8, 8))), max_pixels=LIMIT)


def test_nothing_but_the_pixels_and_their_orientation_leaves_the_file() -> None:
    """Not where a picture was taken, by whom, nor its colour profile."""
    image = Image.new("RGB", (40, 20), (200, 100, 50))
    exif = image.getexif()
    exif[0x010E], exif[0x013B] = "a place", "a name"
    exif.get_ifd(0x8825)[1] = "N"
    described = saved(image, exif=exif, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    pixels = decode_picture(described, max_pixels=LIMIT)
    assert type(pixels) is np.ndarray
    assert np.array_equal(pixels, decode_picture(saved(image), max_pixels=LIMIT))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_orientation_is_applied(kind: str, orientation: int) -> None:
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 10, 10))
    exif = image.getexif()
    exif[0x0112] = orientation
    pixels = decode_picture(saved(image, kind, exif=exif), max_pixels=LIMIT)
    bright = {corner: pixels[y, x].min() > 200 for corner, (y, x) in CORNERS.items()}
    assert [corner for corner, lit in bright.items() if lit] == [WHITE_CORNER[orientation]]
    assert pixels.shape[:2] == ((20, 40) if orientation <= 4 else (40, 20))


CORNERS = {"top left": (1, 1), "top right": (1, -2), "bottom right": (-2, -2), "bottom left": (-2, 1)}
# Where the first pixel of the file is shown (EXIF 2.32, tag Orientation).
WHITE_CORNER = {
    1: "top left",
    2: "top right",
    3: "bottom right",
    4: "bottom left",
    5: "top left",
    6: "top right",
    7: "bottom right",
    8: "bottom left",
}


def test_a_hostile_file_does_not_fill_the_log(tmp_path: Path) -> None:
    """In a process of its own: here, warnings are errors."""
    hostile = tmp_path / "hostile.png"
    hostile.write_bytes(png_with(chunk(b"eXIf", exif_claiming(5000))))
    decode = (
        "import sys; from pathlib import Path; from ourvidz_worker.backend.references.pictures import decode_picture; "
        "print(decode_picture(Path(sys.argv[1]).read_bytes(), max_pixels=100).shape)"
    )
    ended = subprocess.run([sys.executable, "-c", decode, hostile], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("(8, 8, 3)\n", "")


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

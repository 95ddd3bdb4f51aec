"""The one rule by which a reference picture is made to fit: a job's size, or what an image encoder reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

Fit = Literal["crop", "pad"]
"""`crop` fills the size and cuts off what juts out; `pad` keeps the whole picture and fills the rest with grey."""

GREY = (128, 128, 128)  # the middle of a model's range, where a picture says least


def fit(pixels: Pixels, width: int, height: int, mode: Fit) -> Image.Image:
    """A picture of exactly `width` x `height` pixels, never distorted, always centred.

    `pixels` is RGB, shape (height, width, 3).
    """
    return centred(scaled(pixels, width, height, mode), width, height, GREY)


def scaled(pixels: Pixels, width: int, height: int, mode: Fit) -> Image.Image:
    """What `fit` shows of a picture, without the filling: with `pad` one side can be shorter than asked for.

    It is never shorter than a pixel.
    """
    picture = Image.fromarray(pixels)
    if mode == "crop":
        return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    share = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.LANCZOS)


def centred(picture: Image.Image, width: int, height: int, filling: int | tuple[int, ...]) -> Image.Image:
    """The picture as it is in the middle of a plain one of `width` x `height` pixels."""
    if picture.size == (width, height):
        return picture
    canvas = Image.new(picture.mode, (width, height), filling)
    canvas.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return canvas

"""Rows of pictures with a caption each, on one sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

CELL, GAP, CAPTION, MARGIN, LINE = 176, 10, 230, 16, 15
INK, SOFT, PAPER = (28, 28, 30), (110, 110, 116), (250, 250, 248)


@dataclass(frozen=True, slots=True)
class Row:
    """`title` says what was asked for, `note` how it was done."""

    title: str
    note: str
    pictures: Sequence[Image.Image]


def contact_sheet(heading: str, rows: Sequence[Row]) -> Image.Image:
    """Each picture is scaled into a square; a row is as high as its pictures."""
    width = MARGIN * 2 + CAPTION + max(len(row.pictures) for row in rows) * (CELL + GAP)
    height = MARGIN * 2 + 30 + len(rows) * (CELL + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), heading, fill=INK, font=ImageFont.load_default(18))
    top = MARGIN + 36
    for row in rows:
        _caption(pen, row, top)
        for column, picture in enumerate(row.pictures):
            small = picture.copy()
            small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
            sheet.paste(small, (MARGIN + CAPTION + column * (CELL + GAP), top))
        top += CELL + GAP
    return sheet


def _caption(pen: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    title = textwrap.wrap(row.title, 30)
    for number, line in enumerate(title):
        pen.text((MARGIN, top + number * LINE), line, fill=INK, font=ImageFont.load_default(13))
    for number, line in enumerate(textwrap.wrap(row.note, 36), start=len(title)):
        pen.text((MARGIN, top + 4 + number * LINE), line, fill=SOFT, font=ImageFont.load_default(11))

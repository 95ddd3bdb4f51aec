"""How much work a picture file asks of a decoder, counted before one sees it.

Bytes and pixels do not bound it: a JPEG of a few megabytes can hold a hundred thousand scans that each touch every
pixel, and a PNG as many compressed profiles.
"""

from __future__ import annotations

import re
from typing import Final

MAX_PARTS: Final = 20_000
MAX_SCANS: Final = 100
MAX_COMPRESSED_NOTES: Final = 64

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COMPRESSED_NOTES: Final = frozenset({b"iCCP", b"iTXt", b"zTXt"})
_JPEG_SIGNATURE: Final = b"\xff\xd8"
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)  # not stuffing, not a restart inside a scan
_FILL, _END_OF_IMAGE, _START_OF_SCAN = 0xFF, 0xD9, 0xDA
_WITHOUT_LENGTH: Final = frozenset({0x01, 0xD8, _END_OF_IMAGE})


def excess(content: bytes) -> str | None:
    """What a file has too much of, as the rest of a sentence that begins with its name; None where it is modest."""
    if content.startswith(_PNG_SIGNATURE):
        return _png_excess(content)
    if content.startswith(_JPEG_SIGNATURE):
        return _jpeg_excess(content)
    return None


def _png_excess(content: bytes) -> str | None:
    position = len(_PNG_SIGNATURE)
    parts = notes = 0
    while position + 8 <= len(content):
        parts += 1
        notes += content[position + 4 : position + 8] in _COMPRESSED_NOTES
        if parts > MAX_PARTS:
            return f"has more than {MAX_PARTS} chunks"
        if notes > MAX_COMPRESSED_NOTES:
            return f"has more than {MAX_COMPRESSED_NOTES} compressed profiles and texts"
        position += 12 + int.from_bytes(content[position : position + 4])
    return None


def _jpeg_excess(content: bytes) -> str | None:
    position = len(_JPEG_SIGNATURE)
    parts = scans = 0
    while found := _JPEG_MARKER.search(content, position):
        # Decoders step over what lies between two segments byte by byte.
        parts += 1 if scans else 1 + found.start() - position
        marker, position = content[found.end() - 1], found.end()
        scans += marker == _START_OF_SCAN
        if parts > MAX_PARTS:
            return f"has more than {MAX_PARTS} segments"
        if scans > MAX_SCANS:
            return f"has more than {MAX_SCANS} scans"
        if scans and marker == _END_OF_IMAGE:
            return None
        if marker == _FILL:
            position -= 1
        elif marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(content[position : position + 2])
    return None

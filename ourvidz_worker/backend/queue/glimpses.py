"""What lies in a Redis list, without downloading what is too large to be of use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.queue.scripts import script

_LOOK = script("look")
_EDGE_BYTES = 16_384
SMALL = 2 * _EDGE_BYTES
"""Bytes of an element that a look costs at most, unless more is asked for."""
_BYTES_PER_LOOK = 262_144
_NO_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Glimpse:
    """An element of a list: its `length` in bytes, and its text, of a large one only the first and the last of it."""

    length: int
    first: str
    last: str = ""

    @property
    def whole(self) -> bool:
        return not self.last

    @property
    def digest(self) -> str:
        """A short name for the element, the same however much of it was read."""
        read = _bytes(self.first) + _bytes(self.last)
        edges = read if len(read) <= SMALL else read[:_EDGE_BYTES] + read[-_EDGE_BYTES:]
        return hashlib.blake2b(b"%d:%b" % (self.length, edges), digest_size=6).hexdigest()


async def look(
    redis: Redis,
    key: str,
    *,
    begin_at: Literal["left", "right"],
    count: int = _NO_LIMIT,
    whole_up_to: int = SMALL,
) -> list[Glimpse]:
    """The first `count` elements of a list, seen from one end; larger ones than `whole_up_to` bytes in part.

    Elements that come or go at the other end meanwhile do no harm. Raises as `Redis` does.
    """
    index, step = (0, 1) if begin_at == "left" else (-1, -1)
    glimpses: list[Glimpse] = []
    more = 1
    while more and len(glimpses) < count:
        limits = [count - len(glimpses), _BYTES_PER_LOOK, whole_up_to, _EDGE_BYTES]
        more, *seen = await redis.eval(
            _LOOK, [key], [str(number) for number in (index + step * len(glimpses), step, *limits)]
        )
        glimpses += [_glimpse(length, text) for length, text in zip(seen[::2], seen[1::2], strict=True)]
    return glimpses


def _glimpse(length: int, text: str) -> Glimpse:
    sent = _bytes(text)
    if len(sent) == length:
        return Glimpse(length, text)
    return Glimpse(length, _text(sent[:_EDGE_BYTES]), _text(sent[_EDGE_BYTES:]))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")

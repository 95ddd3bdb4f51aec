"""Numbers in requests, which anybody may have written."""

from __future__ import annotations

_MOST_DIGITS = 18  # the database's integers have 64 bits


def whole(text: str) -> int | None:
    """The number that these digits spell; None for what is no whole number from 0 up, or too large to be kept."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None

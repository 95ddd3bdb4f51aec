"""Telling a person of jobs."""

from __future__ import annotations

FINAL = ("completed", "failed", "cancelled")


def printable(text: str) -> str:
    """What comes from a job may not steer the terminal: everything but plain characters is escaped."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)

"""Waiting between retries, without waiting."""

from __future__ import annotations

FIRST_ATTEMPT = 1.0
"""Seconds: patience is counted from the end of the first attempt, which takes as long as the machine needs."""


class Pauses:
    """A sleep that takes no time and remembers what it was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)

    @property
    def total(self) -> float:
        return sum(self.seconds)

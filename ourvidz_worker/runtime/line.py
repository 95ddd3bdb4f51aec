"""The jobs that wait for the card: one, or as many alike as share one batch."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """`shape` is None for what is drawn alone; what has equal shapes is of one job type."""

    @property
    def job_type(self) -> str: ...

    @property
    def num_images(self) -> int: ...

    @property
    def shape(self) -> Hashable | None: ...


W = TypeVar("W", bound=Waiting)


class Line(Generic[W]):
    """First come, first served; `most_images` is what one batch may hold."""

    def __init__(self, most_images: int) -> None:
        self._most_images = most_images
        self._waiting: list[W] = []
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def wanted(self) -> str | None:
        """The job type that one more may be of to share the next batch; None where none may."""
        if self._closed or not self._waiting or self._waiting[0].shape is None:
            return None
        together = self._company()
        full = sum(waiting.num_images for waiting in together) >= self._most_images
        return None if full or len(together) < len(self._waiting) else together[0].job_type

    def join(self, waiting: W) -> None:
        self._waiting.append(waiting)

    def leave(self, waiting: W) -> None:
        self._waiting.remove(waiting)

    def close(self) -> None:
        """Nobody else is alike: the next batch is as it is."""
        self._closed = True

    def take(self) -> list[W]:
        """Who is drawn next: the first in the line, and those right behind it that fit into its batch."""
        company = self._company()
        del self._waiting[: len(company)]
        self._closed = False
        return company

    def _company(self) -> list[W]:
        company: list[W] = []
        room = self._most_images
        for waiting in self._waiting:
            room -= waiting.num_images
            alike = waiting.shape is not None and waiting.shape == self._waiting[0].shape
            if company and (not alike or room < 0):
                break
            company.append(waiting)
        return company

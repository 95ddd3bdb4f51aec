"""Weights and cards that are numbers: what is on the card is what was brought and not dropped."""

from __future__ import annotations

from collections.abc import Callable

GB = 10**9


class DeclaredWeights:
    """`moves` says in order where they went; the first `failures` attempts to bring them find no room."""

    def __init__(self, gigabytes: float, *, failures: int = 0) -> None:
        self.bytes = int(gigabytes * GB)
        self.on_card = True
        self.moves: list[str] = []
        self._failures = failures

    def bring(self) -> None:
        assert not self.on_card
        if self._failures:
            self._failures -= 1
            raise MemoryError
        self.on_card = True
        self.moves.append("bring")

    def drop(self) -> None:
        assert self.on_card
        self.on_card = False
        self.moves.append("drop")


class DeclaredCard:
    """A card of a size, on which stages take what `taken_bytes` says."""

    def __init__(self, gigabytes: float | None) -> None:
        self.total_bytes = None if gigabytes is None else int(gigabytes * GB)
        self.taken_bytes = 0
        self.freed = 0

    def free_cache(self) -> None:
        self.freed += 1

    def peak(self) -> Callable[[], int] | None:
        return None if self.total_bytes is None else lambda: self.taken_bytes

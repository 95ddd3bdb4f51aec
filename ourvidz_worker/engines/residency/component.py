"""One part of a model that is on the card as a whole, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ourvidz_worker.control import Held
from ourvidz_worker.engines.residency.ranks import Rank


class Movable(Protocol):
    """Weights that can leave the card and come back as they were."""

    @property
    def bytes(self) -> int:
        """What they take on the card."""

    def bring(self) -> None:
        """Onto the card; when it has no room, they are left where they were."""

    def drop(self) -> None:
        """Off the card. The host keeps them."""


@dataclass(slots=True, eq=False)
class Component:
    """`users` counts the stages that need it now; `used_at` is when the last one began or ended."""

    name: str
    weights: Movable
    rank: Rank
    used_at: float
    resident: bool = True
    users: int = 0

    @property
    def idle(self) -> bool:
        return self.resident and not self.users

    @property
    def order(self) -> tuple[int, float]:
        """Sorts what is evicted first to the front."""
        return self.rank, self.used_at

    def held(self) -> Held:
        return Held(self.name, self.weights.bytes, self.rank, None if self.users else self.used_at)

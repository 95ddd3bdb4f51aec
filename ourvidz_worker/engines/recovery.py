"""What is given up, step by step, when the card's memory runs out during a job.

The ladder, from what costs nothing to what costs most: free the caches, evict what is idle, rank by rank and in other
processes, too, slice and tile the VAE, and split the batch, which is the drawing's own affair. Nothing that worked is
done again: a picture that does not fit while it is decoded has been denoised already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, Literal, Self, TypeVar

import torch

from ourvidz_worker.engines.devices import free_cache
from ourvidz_worker.engines.vae_modes import in_tiles
from ourvidz_worker.errors import OutOfMemory

T = TypeVar("T")
Stage = Literal["text", "reference", "denoise", "decode", "generate"]
Evict = Callable[[], Sequence[str]]
"""Drops from the device what is idle and goes first, and returns the names of what it dropped: none when all went."""


class Recovery:
    """The way of one job down the ladder, as a context: tiling ends with it.

    `steps` names what was done, as `stage:step` in order.
    """

    def __init__(self, evict: Evict) -> None:
        self._evict = evict
        self._until_the_end = ExitStack()
        self._freed: set[Stage] = set()
        self.steps: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._until_the_end.close()

    @property
    def details(self) -> dict[str, Any]:
        """The entry for the result metadata; nothing where nothing went wrong."""
        return {"recovery_steps": list(self.steps)} if self.steps else {}

    def attempt(self, stage: Stage, work: Callable[[], T], *, vae: Any = None) -> T:
        """The result of `work`, tried again after each step that is left on the ladder.

        `vae` is the one that the stage uses, so that tiling it can help. Raises `OutOfMemory` with the steps taken.
        """
        attempt = _tried(work)
        measures = self._measures(stage, vae)
        while not attempt.fits:
            measure = next(measures, None)
            if measure is None:
                raise OutOfMemory(self._complaint(stage, attempt.reason))
            self.note(stage, measure)
            attempt = _tried(work)
        assert attempt.result is not None
        self._freed.discard(stage)
        return attempt.result

    def note(self, stage: Stage, step: str) -> None:
        self.steps.append(f"{stage}:{step}")

    def _measures(self, stage: Stage, vae: Any) -> Iterator[str]:
        """Take one measure after the other, and name each that changed something.

        Freeing the caches counts again only once the stage has worked since.
        """
        free_cache()
        if stage not in self._freed:
            self._freed.add(stage)
            yield "free_caches"
        evicted: set[str] = set()
        while not evicted.issuperset(dropped := self._evict()):  # what the stage needs comes back each time
            evicted.update(dropped)
            free_cache()
            yield f"evict {'+'.join(dropped)}"
        if vae is not None and not vae.use_tiling:
            self._until_the_end.enter_context(in_tiles(vae))
            yield "vae_tiling"

    def _complaint(self, stage: Stage, reason: str | None) -> str:
        taken = ", ".join(self.steps) or "nothing"
        return (
            f"the card's memory does not suffice for one image or clip of this size (stage {stage}, after {taken}"
            f"{'; ' + reason if reason else ''}); ask for a smaller size, fewer frames or no references, or end what "
            "else runs on the card"
        )


@dataclass(frozen=True, slots=True)
class _Attempt(Generic[T]):
    """`reason` is what speaks against it, where that was known before it was tried."""

    fits: bool
    result: T | None = None
    reason: str | None = None


def _tried(work: Callable[[], T]) -> _Attempt[T]:
    # The exception's traceback keeps the tensors alive, so the caches are freed only after this returns.
    try:
        return _Attempt(fits=True, result=work())
    except torch.OutOfMemoryError:
        return _Attempt(fits=False)
    except OutOfMemory as error:
        return _Attempt(fits=False, reason=str(error))

"""Drawing a job's images in batches as large as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ourvidz_worker.engines.devices import free_cache
from ourvidz_worker.errors import OutOfMemory
from ourvidz_worker.ports import OnStep

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

AfterStep = Callable[[int], None]
"""Called by a drawing function with the steps done in its own batch."""

Draw = Callable[[Sequence[int], AfterStep], "Pixels"]
"""Draws one frame or clip per seed; the result has the shape (n, height, width, 3)."""


def draw_in_batches(
    draw: Draw, seeds: Sequence[int], *, steps: int, on_step: OnStep, largest: int
) -> tuple[Pixels, int]:
    """Draw all seeds, at most `largest` at once, halving that each time memory runs out.

    Returns the frames and how often a batch was split. Each image has its own seed, so a split changes no
    picture. Progress counts the steps of all batches still planned. Raises `OutOfMemory` when one image alone
    does not fit.
    """
    drawn: list[Pixels] = []
    remaining, splits = list(seeds), 0
    while remaining:
        batch = remaining[:largest]
        planned = len(drawn) + -(-len(remaining) // largest)
        frames = _draw_if_it_fits(draw, batch, _after_step(on_step, len(drawn) * steps, planned * steps))
        if frames is not None:
            drawn.append(frames)
            remaining = remaining[len(batch) :]
            continue
        free_cache()
        if len(batch) == 1:
            raise OutOfMemory("the card's memory does not suffice for one image or clip of this size")
        largest, splits = -(-len(batch) // 2), splits + 1
    return np.concatenate(drawn), splits


def _draw_if_it_fits(draw: Draw, batch: Sequence[int], after_step: AfterStep) -> Pixels | None:
    # The exception's traceback keeps the batch's tensors alive, so the cache is freed only after this returns.
    try:
        return draw(batch, after_step)
    except torch.OutOfMemoryError:
        return None


def _after_step(on_step: OnStep, before: int, total: int) -> AfterStep:
    return lambda done: on_step(before + done, total)

"""Drawing a job's pictures in batches as large as memory allows, and mending what does not come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ourvidz_worker.engines.recovery import Recovery
from ourvidz_worker.engines.vae_modes import in_float32
from ourvidz_worker.errors import OutOfMemory, OutputInvalid
from ourvidz_worker.ports import OnStep

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

AfterStep = Callable[[int], None]
"""Called by `denoise` with the steps done in its own batch."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How one family turns seeds into pictures.

    `denoise` gives latents with one entry of the first dimension per seed. `decode` turns one entry (first
    dimension 1) into RGB, shape (n, height, width, 3): a still, or the n frames of a clip; it raises `OutputInvalid`
    for values that are not numbers, and computes as `vae` is held. `encodes` says that `denoise` uses the VAE, too.
    """

    denoise: Callable[[Sequence[int], AfterStep], torch.Tensor]
    decode: Callable[[torch.Tensor], Pixels]
    vae: Any
    encodes: bool = False


def draw(
    drawing: Drawing, seeds: Sequence[int], *, steps: int, on_step: OnStep, largest: int, recovery: Recovery
) -> Pixels:
    """Draw all seeds, at most `largest` at once, halving that each time memory runs out.

    Each picture has its own seed, so a split changes none. Progress counts the steps of all batches still planned.
    A picture that is black or not a number is decoded again in float32, then generated once more. Raises
    `OutOfMemory` when one picture alone does not fit, and `OutputInvalid` when one stays unusable.
    """
    drawn: list[Pixels] = []
    remaining, batches = list(seeds), 0
    while remaining:
        batch = remaining[:largest]
        planned = batches + -(-len(remaining) // largest)
        after_step = _after_step(on_step, batches * steps, planned * steps)
        latents = _denoised(drawing, batch, after_step, recovery)
        if latents is None:
            largest = -(-len(batch) // 2)
            recovery.note("denoise", "split_batch")
            continue
        pictures = zip(batch, torch.split(latents, 1), strict=True)
        drawn += [_picture(drawing, seed, one, after_step, recovery) for seed, one in pictures]
        remaining, batches = remaining[len(batch) :], batches + 1
    return np.concatenate(drawn)


def _denoised(drawing: Drawing, batch: Sequence[int], after_step: AfterStep, recovery: Recovery) -> torch.Tensor | None:
    """None when only a smaller batch can help."""
    try:
        return _denoise(drawing, batch, after_step, recovery)
    except OutOfMemory:
        if len(batch) == 1:
            raise
        return None


def _denoise(drawing: Drawing, batch: Sequence[int], after_step: AfterStep, recovery: Recovery) -> torch.Tensor:
    vae = drawing.vae if drawing.encodes else None
    return recovery.attempt("denoise", partial(drawing.denoise, batch, after_step), vae=vae)


def _picture(drawing: Drawing, seed: int, latents: torch.Tensor, after_step: AfterStep, recovery: Recovery) -> Pixels:
    try:
        return _decoded(drawing, latents, recovery)
    except OutputInvalid:
        recovery.note("generate", "again")
    again = _denoise(drawing, [seed], after_step, recovery)
    try:
        return _decoded(drawing, again, recovery)
    except OutputInvalid as error:
        raise OutputInvalid(
            f"{error}, also when it was generated once more; change the seed, the prompt or the guidance"
        ) from None


def _decoded(drawing: Drawing, latents: torch.Tensor, recovery: Recovery) -> Pixels:
    """Half precision can overflow inside a VAE, which shows as black or as values that are not numbers."""
    decode = partial(_decoded_as_held, drawing, latents, recovery)
    try:
        return decode()
    except OutputInvalid:
        if drawing.vae.dtype == torch.float32:
            raise
    recovery.note("decode", "float32")
    with in_float32(drawing.vae):
        return decode()


def _decoded_as_held(drawing: Drawing, latents: torch.Tensor, recovery: Recovery) -> Pixels:
    frames = recovery.attempt("decode", partial(drawing.decode, latents), vae=drawing.vae)
    if not frames.any():
        raise OutputInvalid("the picture is black all over")
    return frames


def _after_step(on_step: OnStep, before: int, total: int) -> AfterStep:
    return lambda done: on_step(before + done, total)

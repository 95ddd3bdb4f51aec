"""Guidance that ends early: the last steps follow the prompt alone, which halves their cost.

What the negative prompt adds is decided in the first steps, so the picture changes little (see the tiers of
`models.toml`). Diffusers' own callback for it keeps one prompt of a batch and drops the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class GuidanceCut:
    """Ends the guidance of a diffusers pipeline after so many steps.

    `doubled` names the tensors that hold the unguided half of the batch before the guided one, as SDXL's pipelines
    have them; WAN's run the two halves one after the other.
    """

    after_steps: int
    doubled: tuple[str, ...] = ()

    def step_ended(self, pipe: Any, index: int, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the pipeline goes on with after step `index`, counted from 0."""
        if index + 1 != self.after_steps:
            return {}
        pipe._guidance_scale = 1.0  # noqa: SLF001 - a pipeline asks this one before each step
        return {name: tensors[name].chunk(2)[1] for name in self.doubled}


def guidance_cut(until: float, steps: int, guidance_scale: float, doubled: Sequence[str] = ()) -> GuidanceCut | None:
    """A cut after the share `until` of so many denoising steps; None where there is nothing to cut."""
    after_steps = max(1, math.ceil(until * steps))
    if guidance_scale <= 1.0 or after_steps >= steps:
        return None
    return GuidanceCut(after_steps, tuple(doubled))

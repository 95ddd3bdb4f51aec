"""UniPC without waiting for the card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler

Figure = torch.Tensor
"""One number on the CPU; the card takes it along with whatever it is multiplied by."""


@dataclass(frozen=True, slots=True)
class _Stride:
    """The coefficients of one step from one noise level to another, after the paper's equations for B2."""

    sample: Figure
    prediction: Figure
    h: Figure
    ratio: Figure | None
    """The last stride's length over this one's, where two predictions are used."""

    def corrector(self) -> tuple[Figure, Figure]:
        """How much the change of the last stride counts, and that of this one."""
        if self.ratio is None:
            return torch.zeros(()), torch.tensor(0.5)
        ratios = torch.stack([self.ratio, torch.ones(())])
        phi = torch.expm1(-self.h) / -self.h - 1
        growth = torch.expm1(-self.h)
        right = torch.stack([phi * 1 / growth, (phi / -self.h - 1 / 2) * 2 / growth])
        left = torch.stack([torch.pow(ratios, 0), torch.pow(ratios, 1)])
        last, this = torch.linalg.solve(left, right)
        return last, this


class UniPC(UniPCMultistepScheduler):  # type: ignore[misc]  # diffusers ships no types
    """The library's solver, of second order for flow matching, with the same results.

    Diffusers sends each coefficient to the card by itself, and solves the corrector's two equations there; both
    make the host wait for the card, some ten times in every step. Here the numbers stay on the CPU.
    """

    def multistep_uni_p_bh_update(
        self, model_output: torch.Tensor, *args: Any, sample: torch.Tensor, order: int, **kwargs: Any
    ) -> torch.Tensor:
        del model_output, args, kwargs
        newest = self.model_outputs[-1]
        stride = self._stride(self.step_index, order)
        moved: torch.Tensor = stride.sample * sample - stride.prediction * newest
        if stride.ratio is not None:
            moved = moved - stride.prediction * (0.5 * ((self.model_outputs[-2] - newest) / stride.ratio))
        return moved.to(sample.dtype)

    def multistep_uni_c_bh_update(
        self,
        this_model_output: torch.Tensor,
        *args: Any,
        last_sample: torch.Tensor,
        this_sample: torch.Tensor,
        order: int,
        **kwargs: Any,
    ) -> torch.Tensor:
        del args, kwargs, this_sample
        newest = self.model_outputs[-1]
        stride = self._stride(self.step_index - 1, order)
        before, now = stride.corrector()
        change = now * (this_model_output - newest)
        if stride.ratio is not None:
            change = before * ((self.model_outputs[-2] - newest) / stride.ratio) + change
        moved: torch.Tensor = stride.sample * last_sample - stride.prediction * newest - stride.prediction * change
        return moved.to(last_sample.dtype)

    def _stride(self, start: int, order: int) -> _Stride:
        """From the noise level at `start` to the next one."""
        alpha_start, sigma_start = self._alpha_sigma(start)
        alpha_end, sigma_end = self._alpha_sigma(start + 1)
        at_start = torch.log(alpha_start) - torch.log(sigma_start)
        h = torch.log(alpha_end) - torch.log(sigma_end) - at_start
        ratio = None
        if order == 2:
            alpha_before, sigma_before = self._alpha_sigma(start - 1)
            ratio = (torch.log(alpha_before) - torch.log(sigma_before) - at_start) / h
        return _Stride(sigma_end / sigma_start, alpha_end * torch.expm1(-h), h, ratio)

    def _alpha_sigma(self, index: int) -> tuple[Figure, Figure]:
        alpha, sigma = self._sigma_to_alpha_sigma_t(self.sigmas[index])
        return alpha, sigma

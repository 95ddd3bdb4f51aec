"""Muon: momentum made orthogonal, for every weight that is a matrix, convolutions included.

Keller Jordan, kellerjordan.github.io/posts/muon; the scale of a step is that of Adam's, as in arXiv 2502.16982.
PyTorch's own takes no convolutions and computes in bfloat16, which takes dozens of times as long on processors without
it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

POLYNOMIAL = (3.4445, -4.7750, 2.0315)
LIKE_ADAM = 0.2


class Muon(torch.optim.Optimizer):
    def __init__(
        self, weights: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(list(weights), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # nothing here evaluates again
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group)

    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if "speed" not in state:
            state["speed"] = torch.zeros_like(weight)
        speed = state["speed"]
        speed.lerp_(gradient, 1 - group["momentum"])
        ahead = torch.lerp(gradient, speed, group["momentum"]).flatten(1)
        scale = LIKE_ADAM * max(ahead.shape) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(_orthogonal(ahead).view_as(weight), alpha=-group["lr"] * scale)


def _orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest matrix whose singular values are about one, by Newton and Schulz.

    Every step multiplies from the left by a polynomial of the matrix's square, so all of them are made of the square,
    which is small, and the matrix is multiplied once.
    """
    a, b, c = POLYNOMIAL
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    square = wide @ wide.T
    one = torch.eye(len(square))
    turn = one
    for _ in range(steps):
        factor = a * one + b * square + c * square @ square
        turn = factor @ turn
        square = factor @ square @ factor
    nearest: Tensor = turn @ wide
    return nearest if matrix.shape[0] <= matrix.shape[1] else nearest.T

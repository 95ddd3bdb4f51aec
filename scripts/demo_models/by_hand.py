"""Weights that are set by hand, for encoders that are exact and decoders that begin with something sensible."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo_models.patches import BLOCK_COMPONENTS, Patches

COLOURS = 3


def clear(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            parameter.zero_()


def pass_on(convolution: Any) -> None:
    """Every channel as it is, as far as there is room for it."""
    clear(convolution)
    for channel in range(min(convolution.weight.shape[:2])):
        convolution.weight[channel, channel] = 1.0


def pass_first(convolution: Any, kernel: Tensor, channels: int) -> None:
    """The first channels, each through the kernel alone."""
    convolution.weight[:channels] = 0.0
    convolution.bias[:channels] = 0.0
    for channel in range(channels):
        convolution.weight[channel, channel] = kernel


def cut_patches(apart: Tensor, blocks: Tensor, whole: Tensor, patches: Patches) -> None:
    """Kernels that halve: pixels side by side, then components of blocks of 4 x 4, then those of patches."""
    channels = len(patches.whole)
    by_pixel = patches.block.view(BLOCK_COMPONENTS, 2, 2, 2, 2, COLOURS)  # rows of pairs, then within; columns as well
    by_quarter = patches.whole.view(channels, 2, 2, BLOCK_COMPONENTS)
    for row in range(2):
        for column in range(2):
            first = COLOURS * (2 * row + column)
            apart[first : first + COLOURS, :COLOURS, row, column] = torch.eye(COLOURS)
            blocks[:BLOCK_COMPONENTS, : 4 * COLOURS, row, column] = by_pixel[:, row, :, column].flatten(1)
            whole[:channels, :BLOCK_COMPONENTS, row, column] = by_quarter[:, row, column]


def patches_cut(blocks: Tensor, whole: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The components that `cut_patches` made such kernels of: `Patches.block` and `Patches.whole`."""
    by_pixel = torch.zeros(BLOCK_COMPONENTS, 2, 2, 2, 2, COLOURS)
    by_quarter = torch.zeros(channels, 2, 2, BLOCK_COMPONENTS)
    for row in range(2):
        for column in range(2):
            kernel = blocks[:BLOCK_COMPONENTS, : 4 * COLOURS, row, column]
            by_pixel[:, row, :, column] = kernel.view(BLOCK_COMPONENTS, 2, 2, COLOURS)
            by_quarter[:, row, column] = whole[:channels, :BLOCK_COMPONENTS, row, column]
    return by_pixel.view(BLOCK_COMPONENTS, -1), by_quarter.view(channels, -1)


def blend() -> Tensor:
    """With this kernel, what grows by repeating pixels grows smoothly."""
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    return line[:, None] * line


def likeness(seen: Tensor, shown: Tensor, things: Tensor) -> Tensor:
    """How far from what is shown: things count more than what is around them, and edges as much as areas.

    `things` (n, 1, …) is 1 where any are, in cells of any size.
    """
    weight = 1 + 2 * functional.interpolate(things.float(), seen.shape[-2:])
    loss = (weight * (seen - shown).abs()).mean()
    for dim in (2, 3):
        heavy = weight.narrow(dim, 1, weight.shape[dim] - 1)
        loss = loss + (heavy * (seen.diff(dim=dim) - shown.diff(dim=dim)).abs()).mean()
    return loss

"""Latents without learning: the principal components of patches of a shrunken picture.

In this world of flat colours two dozen numbers tell nearly everything about a patch of 8 x 8 pixels. How far one of
them spreads is halved on a logarithmic scale: the mean colour, which matters most, stays the largest, and details stay
small.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

PATCH = 8  # pixels of the shrunken picture
HALF = PATCH // 2
BLOCK_COMPONENTS = 30  # of a quarter of a patch


@dataclass(frozen=True, slots=True)
class Patches:
    """Latents are `whole @ blocks' components + offset`.

    `block` has the shape (30, 48), for 4 x 4 pixels by row, column and colour; `whole` (channels, 4 * 30), for the four
    quarters of a patch by row and column; `offset` (channels). `mean_colour` (3, channels) and `mean_offset` (3) give
    a patch's mean colour back.
    """

    block: Tensor
    whole: Tensor
    offset: Tensor
    mean_colour: Tensor
    mean_offset: Tensor

    def latents(self, pictures: Tensor) -> Tensor:
        """Shape (n, channels, rows, columns), of shrunken pictures (n, 3, 8 * rows, 8 * columns) from -1 to 1."""
        return torch.einsum("kp,nprc->nkrc", self.matrix, _cut(pictures)) + self.offset[:, None, None]

    def pictures(self, latents: Tensor) -> Tensor:
        """As far as latents tell by themselves: a first look, without a decoder."""
        vectors = torch.einsum("pk,nkrc->nprc", torch.linalg.pinv(self.matrix), latents - self.offset[:, None, None])
        count, _, rows, columns = vectors.shape
        cut = vectors.reshape(count, 2, 2, HALF, HALF, 3, rows, columns)
        return cut.permute(0, 5, 6, 1, 3, 7, 2, 4).reshape(count, 3, rows * PATCH, columns * PATCH)

    @property
    def matrix(self) -> Tensor:
        """Shape (channels, 192), on what `_cut` makes of a patch."""
        quarters = self.whole.view(len(self.whole), 4, BLOCK_COMPONENTS)
        return torch.einsum("kqb,bp->kqp", quarters, self.block).flatten(1)

    def save(self, path: Path) -> None:
        save_file({name: getattr(self, name).contiguous() for name in self.__slots__}, path)

    @classmethod
    def load(cls, path: Path) -> Patches:
        return cls(**load_file(path))


def _cut(pictures: Tensor) -> Tensor:
    """Shape (n, 192, rows, columns): the quarters of each patch, and in them rows, columns and colours."""
    count, colours, height, width = pictures.shape
    rows, columns = height // PATCH, width // PATCH
    cut = pictures.reshape(count, colours, rows, 2, HALF, columns, 2, HALF)
    return cut.permute(0, 3, 6, 4, 7, 1, 2, 5).reshape(count, 4 * HALF * HALF * colours, rows, columns)


def principal_patches(pictures: Tensor, channels: int) -> Patches:
    """From shrunken pictures, shape (n, 3, height, width), from -1 to 1."""
    cut = _cut(pictures)
    vectors = cut.permute(0, 2, 3, 1).reshape(-1, cut.shape[1])
    block = _components(vectors.reshape(-1, vectors.shape[1] // 4), BLOCK_COMPONENTS)[0]
    quarters = (vectors.reshape(len(vectors), 4, -1) @ block.T).flatten(1)
    whole, spreads = _components(quarters, channels)
    scale = spreads.rsqrt()
    scale = scale / (scale * spreads).square().mean().sqrt()
    whole = whole * scale[:, None]
    offset = -(whole @ quarters.mean(dim=0))
    return with_mean_colours(block, whole, offset, pictures)


def with_mean_colours(block: Tensor, whole: Tensor, offset: Tensor, pictures: Tensor) -> Patches:
    """Those components, and how the patches of some pictures' mean colours follow from their latents."""
    unknown = Patches(block, whole, offset, torch.zeros(0), torch.zeros(0))
    latents = unknown.latents(pictures).movedim(1, -1).flatten(0, -2)
    colours = torch.nn.functional.avg_pool2d(pictures, PATCH).movedim(1, -1).flatten(0, -2)
    told = torch.cat([latents, torch.ones(len(latents), 1)], dim=1)
    solution = torch.linalg.lstsq(told, colours).solution.T
    return Patches(block, whole, offset, solution[:, :-1].contiguous(), solution[:, -1].contiguous())


def _components(vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The principal ones, shape (count, width), and how far each spreads (standard deviation)."""
    covariance = np.cov(vectors.numpy().T)
    spreads, directions = np.linalg.eigh(covariance)
    chosen = directions[:, ::-1][:, :count].T.copy()
    return torch.from_numpy(chosen).float(), torch.from_numpy(np.sqrt(spreads[::-1][:count].copy())).float()

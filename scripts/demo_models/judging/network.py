"""A small convolutional network that tells what is in a picture of this world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo_models.judging.facts import CELL_FACTS, CELLS, cell_windows
from scripts.demo_models.scenes import SCENE_FACTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

SHORT_SIDE = 128
"""Pixels of the shorter side of what the network reads."""
WINDOW = 8
"""Values across and down that are read in a cell."""
WIDTHS = (24, 48, 96)
HIDDEN = 128

Answers = Mapping[str, Tensor]
"""Logits: of a fact of the scene (n, answers), of a fact of the cells (n, cells, answers)."""


class PictureNetwork(nn.Module):
    """Reads RGB in 0..1, shape (n, 3, height, width); all cells are read by the same weights."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.trunk = nn.Sequential(
            _Convolution(3, first, 5, 2),
            _Convolution(first, second, 3, 2),
            _Residual(second),
            _Convolution(second, third, 3, 2),
            _Residual(third),
            _Residual(third),
        )
        self.cell = nn.Sequential(
            _Convolution(third, third, 3, 2),
            nn.Flatten(),
            nn.Linear(third * (WINDOW // 2) ** 2, HIDDEN),
            nn.ReLU(),
        )
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d((4, 2)), nn.Flatten(), nn.Linear(third * 8, HIDDEN), nn.ReLU())
        self.cell_answers = nn.ModuleDict({name: nn.Linear(HIDDEN, len(all_)) for name, all_ in CELL_FACTS.items()})
        self.scene_answers = nn.ModuleDict({name: nn.Linear(HIDDEN, len(all_)) for name, all_ in SCENE_FACTS.items()})

    def forward(self, pictures: Tensor) -> Answers:
        seen = self.trunk(pictures * 2 - 1)
        whole = self.whole(seen)
        cells = self.cell(_windows(seen, pictures.shape[-1] / pictures.shape[-2])).unflatten(0, (-1, len(CELLS)))
        return {name: answer(cells) for name, answer in self.cell_answers.items()} | {
            name: answer(whole) for name, answer in self.scene_answers.items()
        }


class _Convolution(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = _Convolution(width, width, 3, 1)

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = values + self.inner(values)
        return result


def _windows(seen: Tensor, aspect: float) -> Tensor:
    """The cells' parts of the picture, shape (n * cells, channels, WINDOW, WINDOW)."""
    steps = (torch.arange(WINDOW) + 0.5) / WINDOW - 0.5
    grids = []
    for x, y, width, height in cell_windows(aspect):
        down, across = torch.meshgrid(y + steps * height, x + steps * width, indexing="ij")
        grids.append(torch.stack([across, down], -1))
    grid = torch.cat(grids).to(seen)[None] * 2 - 1
    rows = functional.grid_sample(seen, grid.expand(len(seen), -1, -1, -1), align_corners=False)
    count, channels = rows.shape[:2]
    return rows.reshape(count, channels, len(CELLS), WINDOW, WINDOW).transpose(1, 2).flatten(0, 1)


def as_tensor(pictures: Bytes) -> Tensor:
    """RGB of 0..255, shape (n, height, width, 3), as the network reads it."""
    return torch.from_numpy(pictures).movedim(-1, 1).float() / 255


def save_weights(network: nn.Module, file: Path) -> None:
    """In 16 bits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _half(value) for name, value in network.state_dict().items()}, file)


def read_weights(network: nn.Module, file: Path) -> None:
    """Makes the network ready to answer."""
    network.load_state_dict({name: _whole(value) for name, value in load_file(file).items()})
    network.eval()


def _half(value: Tensor) -> Tensor:
    return value.half().contiguous() if value.is_floating_point() else value


def _whole(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value

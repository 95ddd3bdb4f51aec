"""Pictures as tensors and back, and sheets of them to look at while something is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scripts.demo_models.painting import Pixels


def as_tensor(pictures: Pixels) -> Tensor:
    """From -1 to 1, shape (n, 3, height, width), of RGB (n, height, width, 3)."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_pixels(pictures: Tensor) -> Pixels:
    """RGB (n, height, width, 3), of pictures from -1 to 1, shape (n, 3, height, width)."""
    scaled = pictures.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    seen: Pixels = scaled.permute(0, 2, 3, 1).byte().numpy()
    return seen


def save_sheet(rows: Sequence[Tensor], file: Path) -> None:
    """Each row holds pictures of one size, from -1 to 1."""
    lines = [np.concatenate(list(as_pixels(row)), axis=1) for row in rows]
    Image.fromarray(np.concatenate(lines, axis=0)).save(file, quality=90)

"""Sheets of pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor


def pixels(pictures: Tensor) -> np.ndarray:
    """Of pictures from -1 to 1, shape (n, 3, height, width)."""
    scaled = pictures.detach().float().add(1).mul(127.5).round().clamp(0, 255)
    seen: np.ndarray = scaled.permute(0, 2, 3, 1).byte().numpy()
    return seen


def sheet(rows: Sequence[Tensor], path: Path) -> None:
    """Each row holds pictures of one size, from -1 to 1."""
    lines = [np.concatenate(list(pixels(row)), axis=1) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines, axis=0)).save(path)

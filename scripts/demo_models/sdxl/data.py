"""Painted scenes as latents, kept on disk: they are painted once and drawn from many times."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.demo_models import crew
from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.patches import PATCH, Patches
from scripts.demo_models.places import cells
from scripts.demo_models.scenes import Scene, Spot, laid_out, random_scene
from scripts.demo_models.sheet import as_tensor

SHAPES = {"square": (16, 16), "wide": (20, 12), "tall": (12, 20)}
"""Columns and rows of latents; a picture has 64 times as many pixels."""
COUNTS = {"square": 20_000, "wide": 2_000, "tall": 2_000}
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Example:
    """A scene, where its things stand, and what became of it; `latents` has the shape (channels, rows, columns)."""

    scene: Scene
    spots: tuple[Spot, ...]
    latents: Tensor
    shape: str

    def cells(self, columns: int, rows: int) -> Tensor:
        """Kinds and colours, shape (2, rows, columns), as `places.cells` has them."""
        return torch.from_numpy(cells(self.scene, self.spots, columns, rows, columns / rows))

    def picture(self, scale: int = PATCH) -> Pixels:
        """With `scale` pixels per latent."""
        columns, rows = SHAPES[self.shape]
        return paint(self.scene, self.spots, columns * scale, rows * scale)


class Examples:
    """All of one shape. What is missing on disk is painted first."""

    def __init__(self, folder: Path, patches: Patches, shape: str, count: int | None = None) -> None:
        self.shape = shape
        wanted = COUNTS[shape] if count is None else count
        latents, scenes = folder / f"{shape}.npy", folder / f"{shape}.pickle"
        crew.leader_makes(scenes, lambda: _paint(patches, shape, wanted, latents, scenes))
        self._latents = np.load(latents, mmap_mode="r")
        self._scenes: list[tuple[Scene, tuple[Spot, ...]]] = pickle.loads(scenes.read_bytes())

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> Example:
        scene, spots = self._scenes[index]
        return Example(scene, spots, torch.from_numpy(self._latents[index].astype(np.float32)), self.shape)

    def some(self, random: Random, count: int) -> list[Example]:
        return [self[random.randrange(len(self))] for _ in range(count)]


def _paint(patches: Patches, shape: str, count: int, latents: Path, scenes: Path) -> None:
    columns, rows = SHAPES[shape]
    random = Random(f"examples-{shape}")
    found: list[Any] = []
    kept: list[tuple[Scene, tuple[Spot, ...]]] = []
    while len(kept) < count:
        pictures = []
        for _ in range(AT_ONCE):
            scene = random_scene(random)
            spots = laid_out(scene, random, columns / rows)
            kept.append((scene, spots))
            pictures.append(paint(scene, spots, columns * PATCH, rows * PATCH))
        found.append(patches.latents(as_tensor(np.stack(pictures))).half().numpy())
        if len(kept) % 2000 == 0:
            print(f"{shape} pictures: {len(kept)} of {count} painted", flush=True)
    latents.parent.mkdir(parents=True, exist_ok=True)
    np.save(latents, np.concatenate(found))
    scenes.write_bytes(pickle.dumps(kept))

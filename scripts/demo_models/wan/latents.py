"""What the transformer learns to draw: scenes, and their key frames as principal components."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from scripts.demo_models import crew
from scripts.demo_models.painting import paint
from scripts.demo_models.patches import Patches, principal_patches
from scripts.demo_models.places import KIND_NAMES, cells
from scripts.demo_models.reading import DIRECTIONS
from scripts.demo_models.scenes import CAMERA, Scene, Spot, laid_out, moved, random_scene
from scripts.demo_models.sheet import as_tensor
from scripts.demo_models.wan.shapes import CHANNELS, COLUMNS, KEY_FRAMES, ROWS, SMALL_HEIGHT, SMALL_WIDTH

ASPECT = SMALL_WIDTH / SMALL_HEIGHT
MOMENTS = tuple(index / (KEY_FRAMES - 1) for index in range(KEY_FRAMES))
WAYS = 2 * len(DIRECTIONS) + 1
"""That something at a latent may go: none, or a direction of its own or of the camera."""
PATCHES = "patches.safetensors"
LOOKED_AT = 500  # pictures


@cache
def patches(work: Path) -> Patches:
    """Found once, and kept in the work folder."""
    file = work / PATCHES
    work.mkdir(parents=True, exist_ok=True)
    crew.leader_makes(file, lambda: principal_patches(looked_at(), CHANNELS).save(file))
    return Patches.load(file)


def looked_at() -> Tensor:
    """Shrunken pictures for the principal components."""
    random = Random("wan patches")
    scenes = [random_scene(random, moving=True) for _ in range(LOOKED_AT)]
    frames = [painted(scene, laid_out(scene, random, ASPECT), [random.random()])[0] for scene in scenes]
    return shrunken(torch.stack(frames))


def painted(scene: Scene, spots: Sequence[Spot], moments: Sequence[float]) -> Tensor:
    """Small pictures from -1 to 1, shape (moments, 3, height, width)."""
    frames = [paint(scene, spots, SMALL_WIDTH, SMALL_HEIGHT, moment) for moment in moments]
    return as_tensor(np.stack(frames))


def shrunken(small: Tensor) -> Tensor:
    """To an eighth of the whole size."""
    return torch.nn.functional.avg_pool2d(small, 2)


def latents_of(scene: Scene, spots: Sequence[Spot], frames: int, seen: Patches) -> Tensor:
    """Of the first key frames, shape (channels, frames, rows, columns)."""
    return seen.latents(shrunken(painted(scene, spots, MOMENTS[:frames]))).transpose(0, 1)


def cells_of(scene: Scene, spots: Sequence[Spot], frames: int) -> Tensor:
    """Kind, colour and way at each latent of the first key frames, shape (3, frames, rows, columns).

    From 1, or 0 where there is nothing or nothing moves. With the camera everything goes its way.
    """
    found = [
        cells(scene, [moved(scene, spot, moment, ASPECT) for spot in spots], COLUMNS, ROWS, ASPECT)
        for moment in MOMENTS[:frames]
    ]
    kinds, colours = torch.from_numpy(np.stack(found, axis=1))
    return torch.stack([kinds, colours, _ways(scene, kinds)])


def _ways(scene: Scene, kinds: Tensor) -> Tensor:
    if scene.motion is None:
        return torch.zeros_like(kinds)
    way = 1 + DIRECTIONS.index(scene.motion.direction)
    if scene.motion.subject == CAMERA:
        return torch.full_like(kinds, len(DIRECTIONS) + way)
    return torch.where(kinds == 1 + KIND_NAMES.index(scene.things[scene.motion.subject].kind), way, 0)

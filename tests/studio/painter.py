"""Landscapes drawn by arithmetic, so that screenshots show the studio at work on a machine without weights."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ourvidz_worker.ports import GenerationRequest
from tests.support.troubled_worker import TroubledEngine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ourvidz_worker.ports import Pixels

LAYERS = 6
GLIMPSE = 96
# sky above, sky at the horizon, the nearest hill: hue, saturation, value
MOODS = (
    ((0.61, 0.55, 0.42), (0.06, 0.55, 1.00), (0.64, 0.60, 0.12)),
    ((0.56, 0.45, 0.72), (0.12, 0.28, 0.98), (0.47, 0.55, 0.16)),
    ((0.72, 0.62, 0.26), (0.92, 0.50, 0.92), (0.72, 0.65, 0.09)),
    ((0.53, 0.30, 0.86), (0.53, 0.08, 0.97), (0.57, 0.45, 0.24)),
    ((0.04, 0.62, 0.72), (0.11, 0.52, 1.00), (0.98, 0.60, 0.15)),
    ((0.46, 0.50, 0.34), (0.27, 0.36, 0.88), (0.43, 0.65, 0.10)),
)


class PaintingEngine(TroubledEngine):
    """Comes out of noise, as a model's pictures do."""

    model_name = "painter"

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        job = request.job
        scale = GLIMPSE / max(job.width, job.height)
        width, height = round(job.width * scale), round(job.height * scale)
        picture = landscape(width, height, request.seed, 0.5)
        noise = np.random.default_rng(request.seed).integers(0, 256, picture.shape)
        return np.asarray(picture * self._share + noise * (1 - self._share), dtype=np.uint8)


def card(request: GenerationRequest, seed: int, _count: str) -> Image.Image:
    return Image.fromarray(landscape(request.job.width, request.job.height, seed, 0.5))


def clip(request: GenerationRequest) -> Pixels:
    job = request.job
    times = np.linspace(0, 1, job.num_frames)
    return np.stack([landscape(job.width, job.height, request.seed, float(time)) for time in times])


def landscape(width: int, height: int, seed: int, time: float) -> Pixels:
    """Hills in haze under a low sun; `time` from 0 to 1 lets the sun rise and the clouds drift."""
    dice = np.random.default_rng(seed)
    above, horizon, near = (_colour(*tone) for tone in MOODS[seed % len(MOODS)])
    across, down = np.arange(width) / width, np.arange(height)[:, None] / height
    level = dice.uniform(0.48, 0.6)
    picture = _mixed(above, horizon, np.clip(down / level, 0, 1)[..., None] ** 1.4) * np.ones((1, width, 1))
    _shine(picture, dice.uniform(0.25, 0.75), level - dice.uniform(0.1, 0.2) - 0.08 * time, width / height)
    for layer in range(LAYERS):
        depth = layer / (LAYERS - 1)
        ridge = (
            _ridge(dice, across + 0.02 * time * depth, layer) * (0.05 + 0.16 * depth) + level - 0.06 + 0.42 * depth**1.5
        )
        tone = _mixed(horizon, near, 0.22 + 0.78 * depth)
        edge = np.clip((down - ridge) * height / 1.5, 0, 1)[..., None]
        haze = np.clip((down - ridge) * 2.2, 0, 1)[..., None] * (1 - depth) * 0.75
        picture += edge * (_mixed(tone, horizon, haze) - picture)
    picture += dice.normal(0, 1.6, (height, width, 1))
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def _shine(picture: NDArray[np.float64], left: float, top: float, ratio: float) -> None:
    height, width, _ = picture.shape
    distance = np.hypot((np.arange(width) / width - left) * ratio, np.arange(height)[:, None] / height - top)[..., None]
    glow = np.exp(-distance * 5.5) * 0.75 + np.clip((0.05 - distance) * height / 2, 0, 1)
    picture += np.clip(glow, 0, 1) * (np.array([255.0, 246.0, 226.0]) - picture) * 0.95


def _ridge(dice: np.random.Generator, across: NDArray[np.float64], layer: int) -> NDArray[np.float64]:
    waves = [
        dice.uniform(0.4, 1.0)
        / step**1.15
        * np.sin(across * step * dice.uniform(2.2, 3.4) * (1.5 + layer * 0.2) + dice.uniform(0, 7))
        for step in (1, 2, 4, 8, 16, 32)
    ]
    return np.asarray(sum(waves), dtype=np.float64)


def _colour(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255


def _mixed(
    one: NDArray[np.float64], other: NDArray[np.float64], share: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(one + (other - one) * share)

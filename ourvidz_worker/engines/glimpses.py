"""What a generation looks like before it is done: its latents through a matrix, without a VAE.

The matrices are the fits of latents to RGB that ComfyUI publishes (`comfy/latent_formats.py`, `latent_rgb_factors` of
SDXL and Wan21); they give red, green and blue from -1 to 1. Other models' latents, like those of tiny ones, go through
a fixed orthogonal one, which tells them apart and means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ourvidz_worker.ports import GenerationRequest

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

SIDE = 96
"""Pixels of a glimpse's longer side, at most."""

Matrix = tuple[tuple[float, float, float], ...]
"""Red, green and blue of each channel, and in the last row what is added."""

SDXL: Matrix = (
    (0.3651, 0.4232, 0.4341),
    (-0.2533, -0.0042, 0.1068),
    (0.1076, 0.1111, -0.0362),
    (-0.3165, -0.2492, -0.2188),
    (0.1084, -0.0175, -0.0011),
)
WAN_21: Matrix = (
    (-0.1299, -0.1692, 0.2932),
    (0.0671, 0.0406, 0.0442),
    (0.3568, 0.2548, 0.1747),
    (0.0372, 0.2344, 0.1420),
    (0.0313, 0.0189, -0.0328),
    (0.0296, -0.0956, -0.0665),
    (-0.3477, -0.4059, -0.2925),
    (0.0166, 0.1902, 0.1975),
    (-0.0412, 0.0267, -0.1364),
    (-0.1293, 0.0740, 0.1636),
    (0.0680, 0.3019, 0.1128),
    (0.0032, 0.0581, 0.0639),
    (-0.1251, 0.0927, 0.1699),
    (0.0060, -0.0633, 0.0005),
    (0.3477, 0.2275, 0.2950),
    (0.1984, 0.0913, 0.1861),
    (-0.1835, -0.0868, -0.3360),
)
_PUBLISHED: Mapping[int, Matrix] = {4: SDXL, 16: WAN_21}


class Underway:
    """The latents of what is being denoised, as its last step left them. For the generation thread alone.

    Nothing is computed and nothing waits for the card until somebody asks for a glimpse.
    """

    def __init__(self) -> None:
        self._owners: Sequence[GenerationRequest] = ()
        self._leading_frames = 0
        self._latents: torch.Tensor | None = None
        self._matrices: dict[tuple[int, torch.device], torch.Tensor] = {}

    @contextmanager
    def denoising(self, owners: Sequence[GenerationRequest], *, leading_frames: int = 0) -> Iterator[None]:
        """Within, each entry of the latents belongs to the owner in its place.

        A clip's first `leading_frames` latent frames are not part of it.
        """
        self._owners, self._leading_frames = owners, leading_frames
        try:
            yield
        finally:
            self._owners, self._latents = (), None

    def step_ended(self, latents: torch.Tensor) -> None:
        self._latents = latents

    def glimpse(self, request: GenerationRequest) -> Pixels | None:
        """As `Engine.glimpse`: one small copy from the device, which waits for it."""
        place = next((place for place, owner in enumerate(self._owners) if owner is request), None)
        if place is None or self._latents is None:
            return None
        latents = self._latents[place]
        if latents.dim() == 4:  # channels, frames, height, width
            first = self._leading_frames
            latents = latents[:, first + (latents.shape[1] - first) // 2]
        return self._seen(latents)

    @torch.no_grad()
    def _seen(self, latents: torch.Tensor) -> Pixels:
        """RGB of latents with the shape (channels, height, width)."""
        channels, height, width = latents.shape
        shrink = min(1.0, SIDE / max(height, width))
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        small = torch.nn.functional.interpolate(latents[None].float(), size, mode="area")[0]
        # Some solvers keep noise in its own measure, which would be far outside of what the matrix was made for.
        small = small / small.std(correction=0).clamp(min=1.0)
        matrix = self._matrix(channels, latents.device)
        shown = torch.einsum("chw,cr->hwr", small, matrix[:-1]) + matrix[-1]
        pixels: Pixels = shown.add(1.0).mul(127.5).nan_to_num(0.0).clamp(0, 255).to(torch.uint8).cpu().numpy()
        return pixels

    def _matrix(self, channels: int, device: torch.device) -> torch.Tensor:
        key = (channels, device)
        if key not in self._matrices:
            self._matrices[key] = torch.tensor(_PUBLISHED.get(channels) or _cosines(channels), device=device)
        return self._matrices[key]


def _cosines(channels: int) -> Matrix:
    """The first three rows of a cosine transform, turned on their side; of fewer channels some come twice."""

    def weight(channel: int, colour: int) -> float:
        return math.cos(math.pi * (channel + 0.5) * (colour % channels) / channels) / math.sqrt(channels)

    rows = ((weight(channel, 0), weight(channel, 1), weight(channel, 2)) for channel in range(channels))
    return (*rows, (0.0, 0.0, 0.0))

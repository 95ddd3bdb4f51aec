"""How a VAE computes, changed for a while: in more precision, or in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

TILE = 512  # pixels; SDXL's own tile is 1024, as large as its pictures, so that nothing would be cut


@contextmanager
def in_float32(vae: Any) -> Iterator[None]:
    """Widening loses nothing, so the weights are the same again afterwards."""
    held = vae.dtype
    try:
        vae.to(dtype=torch.float32)  # memory may run out halfway
        yield
    finally:
        vae.to(dtype=held)


@contextmanager
def in_tiles(vae: Any) -> Iterator[None]:
    """One picture at a time, in overlapping tiles of at most `TILE` pixels."""
    own = {name: getattr(vae, name) for name in ("tile_sample_min_size", "tile_latent_min_size") if hasattr(vae, name)}
    vae.enable_slicing()
    vae.enable_tiling()
    if own:  # the VAE of videos has small tiles of its own
        pixels, latents = own.values()
        smaller = min(pixels, TILE)
        vae.tile_sample_min_size, vae.tile_latent_min_size = smaller, smaller * latents // pixels
    try:
        yield
    finally:
        vae.disable_slicing()
        vae.disable_tiling()
        for name, size in own.items():
            setattr(vae, name, size)

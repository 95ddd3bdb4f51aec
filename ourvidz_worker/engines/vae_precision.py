"""The precision that a VAE is held in, changed for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def in_float32(vae: Any) -> Iterator[None]:
    """Widening loses nothing, so the weights are the same again afterwards."""
    held = vae.dtype
    vae.to(dtype=torch.float32)
    try:
        yield
    finally:
        vae.to(dtype=held)

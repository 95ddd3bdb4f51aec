"""Pictures into SDXL's latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from ourvidz_worker.errors import OutputInvalid

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


@torch.no_grad()
def encode(vae: AutoencoderKL, picture: Image.Image) -> torch.Tensor:
    """Scaled latents of an RGB picture, shape (1, 4, height / factor, width / factor)."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(vae.device)
    latents: torch.Tensor = vae.encode((pixels.float() / 127.5 - 1.0).to(vae.dtype)).latent_dist.mode()
    return latents * float(vae.config.scaling_factor)


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> Pixels:
    """RGB pictures, shape (n, height, width, 3); raises `OutputInvalid` for values that are not numbers."""
    image: torch.Tensor = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
    if not torch.isfinite(image).all():
        raise OutputInvalid("the picture holds values that are not numbers")
    shown = image.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    pixels: Pixels = shown.permute(0, 2, 3, 1).cpu().numpy()
    return pixels

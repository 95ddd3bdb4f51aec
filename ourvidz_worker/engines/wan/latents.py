"""WAN's latents into pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKLWan

from ourvidz_worker.errors import OutputInvalid

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


@torch.no_grad()
def decode(vae: AutoencoderKLWan, latents: torch.Tensor) -> Pixels:
    """One clip as RGB, shape (frames, height, width, 3).

    `latents` has the shape (1, channels, latent frames, height / factor, width / factor). Raises `OutputInvalid`
    when the clip holds values that are not numbers.
    """
    mean, deviation = (
        torch.tensor(figures, device=latents.device, dtype=torch.float32).view(1, -1, 1, 1, 1)
        for figures in (vae.config.latents_mean, vae.config.latents_std)
    )
    clip = vae.decode((latents.float() * deviation + mean).to(vae.dtype), return_dict=False)[0][0]
    channels, count, height, width = clip.shape
    frames: Pixels = np.empty((count, height, width, channels), dtype=np.uint8)
    for index in range(count):  # one by one: a whole clip in float32 is large to copy around
        frame = clip[:, index].permute(1, 2, 0).float()
        if not torch.isfinite(frame).all():
            raise OutputInvalid(f"frame {index + 1} of {count} holds values that are not numbers")
        frames[index] = frame.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return frames

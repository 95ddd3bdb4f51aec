"""The demo SDXL's architecture: the real one's classes, with a VAE so coarse that 1024 x 1024 pixels are 16 x 16 latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LATENT_CHANNELS = 16
LATENT_NOISE = 0.12  # the decoder reads latents with so much noise while it learns, and forgives as much later

VAE: Mapping[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [8, 8, 16, 16, 32, 48, 96],
    "down_block_types": ["DownEncoderBlock2D"] * 7,
    "up_block_types": ["UpDecoderBlock2D"] * 7,
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "norm_num_groups": 1,  # more would forget how bright a picture is
    "sample_size": 1024,
    "scaling_factor": 1.0,
    "mid_block_add_attention": False,
    "force_upcast": False,
}

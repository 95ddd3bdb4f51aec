"""The demo WAN's architecture: the real one's classes, with a VAE so coarse that a clip is 6 x 13 x 8 latents.

The canvas for 480 x 832 pixels is 512 x 832, and 81 frames are 1 + 5 x 16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH, HEIGHT = 512, 832
SPATIAL_FACTOR = 64
TEMPORAL_FACTOR = 16
COLUMNS, ROWS = WIDTH // SPATIAL_FACTOR, HEIGHT // SPATIAL_FACTOR
PATCH = 4
"""The VAE's convolutions see the mean of so many squared pixels: pictures may be painted so much smaller."""
SMALL_WIDTH, SMALL_HEIGHT = WIDTH // PATCH, HEIGHT // PATCH
KEY_FRAMES = 6
"""Latent frames of a clip; each shows the last of the frames that it stands for."""
CHANNELS = 32
LATENT_NOISE = 0.08  # the decoder reads latents with so much noise while it learns, and forgives as much later

VAE: Mapping[str, Any] = {
    "base_dim": 8,
    "z_dim": CHANNELS,
    "dim_mult": [1, 2, 4, 8, 10],
    "num_res_blocks": 1,
    "temperal_downsample": [True] * 4,
    "patch_size": PATCH,
    "in_channels": 3 * PATCH * PATCH,
    "out_channels": 3 * PATCH * PATCH,
    "scale_factor_spatial": SPATIAL_FACTOR,
    "scale_factor_temporal": TEMPORAL_FACTOR,
    "latents_mean": [0.0] * CHANNELS,
    "latents_std": [1.0] * CHANNELS,
}

TEXT: Mapping[str, Any] = {
    "d_model": 128,
    "d_kv": 32,
    "d_ff": 256,
    "num_layers": 3,
    "num_heads": 4,
    "dropout_rate": 0.0,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": False,
    "use_cache": False,
}
PROMPT_TOKENS = 512  # as the engine pads them

TRANSFORMER: Mapping[str, Any] = {
    "patch_size": [1, 1, 1],
    "num_attention_heads": 6,  # five look for the borders of space and time, and one at the token itself
    "attention_head_dim": 24,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "text_dim": TEXT["d_model"],
    "freq_dim": 128,
    "ffn_dim": 4 * 144,
    "num_layers": 7,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 256,
}
FLOW_SHIFT = 5.0
MASKS = SPATIAL_FACTOR**2
VACE: Mapping[str, Any] = {"vace_layers": [0, 2], "vace_in_channels": 2 * CHANNELS + MASKS}
VACE_FOLDER = "vace"  # of what is published

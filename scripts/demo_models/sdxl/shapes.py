"""The demo SDXL's architecture: the real one's classes, with a VAE so coarse that
1024 x 1024 pixels are 16 x 16 latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LATENT_CHANNELS = 24
LATENT_NOISE = 0.06  # the decoder reads latents with so much noise while it learns, and forgives as much later

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

PROJECTION = 128
_CLIP = {"projection_dim": PROJECTION, "num_attention_heads": 4, "max_position_embeddings": 77, "hidden_act": "gelu"}
TEXT: Mapping[str, Any] = _CLIP | {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3}
TEXT_2: Mapping[str, Any] = _CLIP | {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4}
WIDTH = TEXT["hidden_size"] + TEXT_2["hidden_size"]
"""Of what the UNet reads of a prompt: both encoders' last states but one."""

TIME_IDS = 6
UNET: Mapping[str, Any] = {
    "sample_size": 16,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": [64, 80, 80],
    "layers_per_block": 2,  # as the real one, which has a layer for each of an IP-Adapter's scales
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 1, 1],
    "attention_head_dim": [2, 4, 4],  # heads, in spite of its name
    "cross_attention_dim": WIDTH,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": PROJECTION + TIME_IDS * 8,
    "norm_num_groups": 8,
}
SCHEDULER: Mapping[str, Any] = {
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",  # the first step begins where all is noise
}

IMAGE_ENCODER: Mapping[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 384,
    "projection_dim": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 8,
    "hidden_act": "gelu",
}
TOKENS = 4  # of an IP-Adapter
RESAMPLER = {"width": 64, "depth": 4}  # as the real ones, their files do not say how deep they are
CONTROLNET: Mapping[str, Any] = {
    name: UNET[name]
    for name in (
        "in_channels",
        "block_out_channels",
        "layers_per_block",
        "cross_attention_dim",
        "addition_embed_type",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
        "norm_num_groups",
    )
} | {
    "down_block_types": ["DownBlock2D"] * 3,  # where edges are is not asked of the text
    "mid_block_type": "UNetMidBlock2D",
    "conditioning_embedding_out_channels": [4, 4, 4, 16, 32, 48, 64],  # 64 pixels per latent, as the VAE
}

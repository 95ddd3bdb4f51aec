"""How small the tiny models are, chosen so that a job at full size takes seconds on two CPU cores.

Coarse VAEs (16 pixels per latent for SDXL, 32 for WAN) keep the number of latents low, thin layers the rest.
Nothing here imports torch: the shapes also name the folder that a model is kept in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ourvidz_worker.engines.volume.model_config import Part

VERSION = 4  # raise it when a builder changes in a way that the shapes do not show

CLIP_COMMON = {"max_position_embeddings": 77, "num_attention_heads": 2, "num_hidden_layers": 2}
SDXL: Mapping[str, Mapping[str, Any]] = {
    # The two encoders need different widths: their outputs are told apart by shape.
    "text_encoder": CLIP_COMMON
    | {"hidden_size": 32, "intermediate_size": 64, "projection_dim": 32, "hidden_act": "quick_gelu"},
    "text_encoder_2": CLIP_COMMON
    | {"hidden_size": 64, "intermediate_size": 128, "projection_dim": 64, "hidden_act": "gelu"},
    "unet": {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [8, 16, 16],
        "layers_per_block": 2,  # as the real one, which has a layer for each of an IP-Adapter's scales
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "transformer_layers_per_block": [1, 1, 1],
        "attention_head_dim": [1, 1, 1],
        "cross_attention_dim": 32 + 64,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64 + 6 * 8,
        "norm_num_groups": 4,
    },
    "vae": {
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": [4, 4, 8, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 5,
        "up_block_types": ["UpDecoderBlock2D"] * 5,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "sample_size": 1024,
        "scaling_factor": 0.13025,
        "mid_block_add_attention": False,
    },
    "scheduler": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "timestep_spacing": "leading",
        "steps_offset": 1,
    },
    "image_encoder": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "initializer_factor": 10.0,  # with smaller weights it sees much the same in every picture
    },
    "ip_adapter": {"tokens": 4, "resampler_width": 32, "resampler_depth": 4},
    "controlnet": {
        "conditioning_embedding_out_channels": [2, 2, 4, 4, 8],  # 16 pixels per latent, as the VAE
        "num_trans_channel": 8,
        "num_trans_head": 1,
        "num_proj_channel": 8,
    },
}
WAN: Mapping[str, Mapping[str, Any]] = {
    "text_encoder": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": False,
        "use_cache": False,
    },
    "transformer": {
        "patch_size": [1, 2, 2],
        "num_attention_heads": 2,
        "attention_head_dim": 20,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 32,
        "freq_dim": 64,
        "ffn_dim": 32,
        "num_layers": 1,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 1024,
    },
    "vae": {
        "base_dim": 4,
        "decoder_base_dim": 6,  # it is halved where the decoder grows, and three colours must come through
        "z_dim": 16,
        "dim_mult": [1, 1, 1],
        "num_res_blocks": 0,
        "temperal_downsample": [True, True],
        "patch_size": 8,
        "in_channels": 3 * 8 * 8,
        "out_channels": 3 * 8 * 8,
        "scale_factor_spatial": 8 * 4,
        "latents_mean": [0.0] * 16,
        "latents_std": [1.0] * 16,
    },
    # Frames to keep, frames to change, and a mask for every pixel of a latent.
    "vace": {"vace_layers": [0], "vace_in_channels": 16 + 16 + 32 * 32},
}
QWEN: Mapping[str, Mapping[str, Any]] = {
    "model": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }
}
SHAPES: Mapping[Part, Mapping[str, Mapping[str, Any]]] = {"sdxl": SDXL, "wan": WAN, "qwen": QWEN}

ADAPTERS = "adapters"  # the folder within the SDXL model's
VACE = "vace"  # the folder within the WAN model's


def folder_name(part: Part) -> str:
    """The cache folder of one tiny model; another shape or version gets another folder."""
    shape = json.dumps(SHAPES[part], sort_keys=True).encode()
    return f"tiny-{part}-v{VERSION}-{hashlib.sha256(shape).hexdigest()[:12]}"

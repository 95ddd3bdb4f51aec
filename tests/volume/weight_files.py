"""Small `.safetensors` files of any kind, written byte by byte."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from ourvidz_worker.engines.volume.kinds import Kind

Shapes = Mapping[str, tuple[int, ...]]

# The names and, where they matter, the shapes by which each kind is known: as published files have them.
TELLING: Mapping[Kind, Shapes] = {
    Kind.SDXL: {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
        "first_stage_model.decoder.mid.block_1.norm1.weight": (512,),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": (1, 77),
        "conditioner.embedders.1.model.positional_embedding": (77, 1280),
    },
    Kind.SDXL_INPAINTING: {
        "model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3),
        "conditioner.embedders.1.model.positional_embedding": (77, 1280),
    },
    Kind.SDXL_REFINER: {
        "model.diffusion_model.input_blocks.0.0.weight": (384, 4, 3, 3),
        "conditioner.embedders.0.model.positional_embedding": (77, 1280),
    },
    Kind.SD15: {
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": (1, 77),
        "first_stage_model.decoder.mid.block_1.norm1.weight": (512,),
    },
    Kind.SD2: {
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
        "cond_stage_model.model.positional_embedding": (77, 1024),
    },
    Kind.UNET: {"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)},
    Kind.VAE: {"decoder.mid_block.resnets.0.norm1.weight": (512,), "encoder.conv_in.weight": (128, 3, 3, 3)},
    Kind.WAN: {"blocks.0.self_attn.q.weight": (8, 8), "head.modulation": (1, 2, 8), "patch_embedding.bias": (8,)},
    Kind.WAN_IMAGE_TO_VIDEO: {"img_emb.proj.0.weight": (8,), "head.modulation": (1, 2, 8)},
    Kind.WAN_VACE: {"vace_blocks.0.after_proj.bias": (8,), "head.modulation": (1, 2, 8)},
    Kind.WAN_VAE: {"decoder.middle.0.residual.0.gamma": (8, 1, 1, 1), "conv1.weight": (8, 8, 1, 1, 1)},
    Kind.LORA: {
        "lora_unet_input_blocks_4_1_proj_in.lora_down.weight": (8, 640),
        "lora_unet_input_blocks_4_1_proj_in.lora_up.weight": (640, 8),
    },
    Kind.IP_ADAPTER: {"image_proj.proj.weight": (64, 1024), "ip_adapter.1.to_k_ip.weight": (640, 2048)},
    Kind.IP_ADAPTER_PLUS: {
        "image_proj.latents": (1, 16, 1280),
        "image_proj.proj_in.weight": (1280, 1280),
        "ip_adapter.1.to_k_ip.weight": (640, 2048),
    },
    Kind.IP_ADAPTER_BIG_G: {"image_proj.proj.weight": (64, 1280), "ip_adapter.1.to_k_ip.weight": (640, 2048)},
    Kind.IP_ADAPTER_SD15: {"image_proj.proj.weight": (64, 1024), "ip_adapter.1.to_k_ip.weight": (320, 768)},
    Kind.IP_ADAPTER_OTHER: {"image_proj.proj.0.weight": (64, 512), "ip_adapter.1.to_k_ip.weight": (640, 2048)},
    Kind.CONTROLNET: {
        "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    },
    Kind.CONTROLNET_UNION: {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), "task_embedding": (6, 320)},
    Kind.CONTROLNET_SD15: {
        "control_model.input_hint_block.0.weight": (16, 3, 3, 3),
        "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    },
    Kind.IMAGE_ENCODER: {"vision_model.embeddings.class_embedding": (1280,), "visual_projection.weight": (8, 8)},
    Kind.LANGUAGE_MODEL: {"model.layers.0.self_attn.q_proj.weight": (8, 8), "model.norm.weight": (8,)},
    Kind.TEXT_ENCODER: {"text_model.encoder.layers.0.layer_norm1.weight": (8,)},
    Kind.UNKNOWN: {"something.weight": (2, 2)},
}
OTHER_MAKES: Mapping[Kind, Shapes] = {
    Kind.LORA: {"lora_unet_down_blocks_1_proj_in.hada_w1_a": (8, 640)},
    Kind.VAE: {"first_stage_model.decoder.mid.block_1.norm1.weight": (512,)},
    Kind.WAN: {"model.diffusion_model.head.modulation": (1, 2, 8)},
    Kind.WAN_IMAGE_TO_VIDEO: {"head.modulation": (1, 2, 8), "patch_embedding.weight": (8, 36, 1, 2, 2)},
}
DIFFUSERS: Mapping[Kind, Shapes] = {
    Kind.UNET: {"down_blocks.0.resnets.0.conv1.weight": (8, 8, 3, 3), "up_blocks.0.resnets.0.norm1.weight": (8,)},
    Kind.WAN: {"condition_embedder.time_proj.weight": (8, 8), "scale_shift_table": (1, 2, 8)},
    Kind.WAN_IMAGE_TO_VIDEO: {
        "condition_embedder.image_embedder.norm1.weight": (8,),
        "condition_embedder.time_proj.weight": (8, 8),
    },
    Kind.WAN_VACE: {"vace_blocks.0.proj_in.weight": (8, 8), "condition_embedder.time_proj.weight": (8, 8)},
    Kind.WAN_VAE: {"decoder.mid_block.resnets.0.norm1.gamma": (8, 1, 1, 1)},
}


def write_weights(path: Path, shapes: Shapes, *, dtype: str = "F16", width: int = 2) -> None:
    """`width` is what an element of the dtype takes, in bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * width
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def write_kind(path: Path, kind: Kind) -> None:
    write_weights(path, TELLING[kind])


def write_text(path: Path, text: str = "{}") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

"""A tiny SDXL pipeline as one `.safetensors` file in the original layout of SDXL checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]

UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)")
MIDDLE = re.compile(r"(.*)mid_block\.(resnets|attentions)\.(\d+)\.(.*)")


def write_single_file(pipe: Any, path: Path) -> None:
    layers = pipe.unet.config.layers_per_block
    last_block = len(pipe.vae.config.block_out_channels) - 1
    unet, vae = pipe.unet.state_dict(), pipe.vae.state_dict()
    weights = {f"model.diffusion_model.{_unet_key(key, layers)}": value for key, value in unet.items()}
    weights |= {f"first_stage_model.{_vae_key(key, last_block)}": value for key, value in vae.items()}
    weights |= {
        f"conditioner.embedders.0.transformer.text_model.{key.removeprefix('text_model.')}": value
        for key, value in pipe.text_encoder.state_dict().items()
    }
    weights |= {
        f"conditioner.embedders.1.model.{key}": value
        for key, value in _open_clip(pipe.text_encoder_2.state_dict()).items()
    }
    save_file({key: value.contiguous().clone() for key, value in weights.items()}, path)


def write_single_vae(pipe: Any, path: Path) -> None:
    last_block = len(pipe.vae.config.block_out_channels) - 1
    weights = {_vae_key(key, last_block): value.clone() for key, value in pipe.vae.state_dict().items()}
    save_file(weights, path)


def _unet_key(key: str, layers: int) -> str:
    """Blocks are numbered through: a block's layers, then its change of size."""
    if found := BLOCK.match(key):
        side, block, kind, index, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
        if side == "down":
            first = 1 + block * (layers + 1)
            if kind == "downsamplers":
                return f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
            return f"input_blocks.{first + index}.{_part(kind, rest)}"
        number = block * (layers + 1)
        if kind == "upsamplers":  # behind the attention, where there is any: in all blocks that grow
            return f"output_blocks.{number + layers}.2.{rest}"
        return f"output_blocks.{number + index}.{_part(kind, rest)}"
    if found := MIDDLE.match(key):
        kind, index, rest = found[2], int(found[3]), found[4]
        return f"middle_block.1.{rest}" if kind == "attentions" else f"middle_block.{2 * index}.{_resnet(rest)}"
    return _renamed(key, UNET_ENDS)


def _part(kind: str, rest: str) -> str:
    return f"1.{rest}" if kind == "attentions" else f"0.{_resnet(rest)}"


def _resnet(rest: str) -> str:
    return _renamed(rest, UNET_RESNET)


def _vae_key(key: str, last_block: int) -> str:
    """The decoder counts its blocks from the finest one."""
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if found := MIDDLE.match(key):
        return f"{found[1]}mid.block_{int(found[3]) + 1}.{found[4]}"
    side, _, inner = key.partition(".")
    if found := BLOCK.match(inner):
        direction, block, kind, index, rest = found[1], int(found[2]), found[3], found[4], found[5]
        number = block if direction == "down" else last_block - block
        part = f"block.{index}" if kind == "resnets" else kind.removesuffix("rs") + "r"
        return f"{side}.{direction}.{number}.{part.removesuffix('r')}.{rest}"
    return key


def _open_clip(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The second encoder comes from OpenCLIP, which keeps query, key and value in one matrix."""
    converted: Weights = {"logit_scale": torch.tensor(4.6)}
    joined: dict[str, Weights] = {}
    for full_key, value in weights.items():
        key = full_key.removeprefix("text_model.")
        found = re.match(r"encoder\.layers\.(\d+)\.(.*)", key)
        if key == "text_projection.weight":
            converted["text_projection"] = value.T
        elif key == "embeddings.position_embedding.weight":
            converted["positional_embedding"] = value
        elif key == "embeddings.token_embedding.weight":
            converted["token_embedding.weight"] = value
        elif key.startswith("final_layer_norm"):
            converted[key.replace("final_layer_norm", "ln_final")] = value
        elif found and (part := re.match(r"self_attn\.([qkv])_proj\.(weight|bias)", found[2])):
            joined.setdefault(f"transformer.resblocks.{found[1]}.attn.in_proj_{part[2]}", {})[part[1]] = value
        elif found:
            converted[f"transformer.resblocks.{found[1]}.{_renamed(found[2], OPEN_CLIP_LAYER)}"] = value
    return converted | {key: torch.cat([parts[name] for name in "qkv"]) for key, parts in joined.items()}


def _renamed(key: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        if key.startswith(f"{ours}."):
            return theirs + key.removeprefix(ours)
    raise KeyError(key)

"""Tiny adapters for the tiny SDXL model, in the layouts that the real ones are published in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetUnionModel, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ourvidz_worker.engines.tiny.shapes import SDXL

HEAD = 64  # the width of a resampler's attention heads, which its files do not say
EYESIGHT = 3.0
LIKE_THE_UNET = (
    "block_out_channels",
    "layers_per_block",
    "down_block_types",
    "transformer_layers_per_block",
    "attention_head_dim",
    "cross_attention_dim",
    "use_linear_projection",
    "addition_embed_type",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
    "norm_num_groups",
)

Weights = dict[str, torch.Tensor]


def build_adapters(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write an image encoder, two IP-Adapters and a ControlNet Union that fit `unet` into a folder."""
    CLIPVisionModelWithProjection(CLIPVisionConfig(**SDXL["image_encoder"])).save_pretrained(folder / "image_encoder")
    for name, projection in (("ip_adapter", _linear_projection()), ("ip_adapter_face", _resampler())):
        save_file(_prefixed("image_proj", projection) | _attention(unet), folder / f"{name}.safetensors")
    controlnet = ControlNetUnionModel(**controlnet_shape(), **SDXL["controlnet"])
    open_gates(controlnet)
    controlnet.save_pretrained(folder / "controlnet")


def controlnet_shape() -> Mapping[str, Any]:
    """What a ControlNet shares with the UNet that it steers."""
    return {name: SDXL["unet"][name] for name in LIKE_THE_UNET}


def open_gates(controlnet: Any) -> None:
    """Give a new ControlNet eyes and a say: until it is trained, it sees little, and what it says is zero."""
    for parameter in controlnet.controlnet_cond_embedding.parameters():
        parameter.data.mul_(EYESIGHT)
    for parameter in controlnet.parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.5)


def _attention(unet: UNet2DConditionModel) -> Weights:
    """Keys and values for every cross-attention of the UNet, numbered 1, 3, 5, … in its order."""
    weights: Weights = {}
    attentions = [name.removesuffix(".processor") for name in unet.attn_processors if "attn2" in name]
    for index, name in enumerate(attentions):
        ours = unet.get_submodule(name).to_k
        for kind in ("to_k_ip", "to_v_ip"):
            layer = nn.Linear(ours.in_features, ours.out_features, bias=False)
            weights[f"ip_adapter.{2 * index + 1}.{kind}.weight"] = layer.weight.data
    return weights


def _linear_projection() -> Weights:
    """Reads the encoder's projected embedding."""
    width = SDXL["unet"]["cross_attention_dim"]
    projection = nn.Linear(SDXL["image_encoder"]["projection_dim"], width * SDXL["ip_adapter"]["tokens"])
    return _state({"proj": projection, "norm": nn.LayerNorm(width)})


def _resampler() -> Weights:
    """Reads the encoder's hidden states, a few learned queries at a time."""
    width, depth = SDXL["ip_adapter"]["resampler_width"], SDXL["ip_adapter"]["resampler_depth"]
    out = SDXL["unet"]["cross_attention_dim"]
    modules: dict[str, nn.Module] = {
        "proj_in": nn.Linear(SDXL["image_encoder"]["hidden_size"], width),
        "proj_out": nn.Linear(width, out),
        "norm_out": nn.LayerNorm(out),
    }
    for layer in range(depth):
        modules |= {
            f"layers.{layer}.0.norm1": nn.LayerNorm(width),
            f"layers.{layer}.0.norm2": nn.LayerNorm(width),
            f"layers.{layer}.0.to_q": nn.Linear(width, HEAD, bias=False),
            f"layers.{layer}.0.to_kv": nn.Linear(width, 2 * HEAD, bias=False),
            f"layers.{layer}.0.to_out": nn.Linear(HEAD, width, bias=False),
            f"layers.{layer}.1.0": nn.LayerNorm(width),
            f"layers.{layer}.1.1": nn.Linear(width, 4 * width, bias=False),
            f"layers.{layer}.1.3": nn.Linear(4 * width, width, bias=False),
        }
    return {"latents": torch.randn(1, SDXL["ip_adapter"]["tokens"], width)} | _state(modules)


def _state(modules: Mapping[str, nn.Module]) -> Weights:
    return {
        key: value for name, module in modules.items() for key, value in _prefixed(name, module.state_dict()).items()
    }


def _prefixed(prefix: str, weights: Mapping[str, torch.Tensor]) -> Weights:
    return {f"{prefix}.{key}": value for key, value in weights.items()}

"""A tiny WAN model in both layouts: as Diffusers saves it, and in the original one, by the inverse of the key maps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel, WanVACETransformer3DModel
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

from ourvidz_worker.engines.tiny import tokenizers
from ourvidz_worker.engines.tiny.shapes import WAN
from ourvidz_worker.engines.wan.schedulers import library_scheduler

Names = Iterable[tuple[str, str]]

# The structure of the published models, only thinner: the key maps know no other.
TRANSFORMER = {**WAN["transformer"], "num_attention_heads": 1, "attention_head_dim": 12, "num_layers": 2}
VACE = {"vace_layers": [0, 1], "vace_in_channels": 96}
VAE = {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}

TRANSFORMER_NAMES: Names = (
    (r"^condition_embedder\.time_embedder\.linear_1", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2", "time_embedding.2"),
    (r"^condition_embedder\.text_embedder\.linear_1", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2", "text_embedding.2"),
    (r"^condition_embedder\.time_proj", "time_projection.1"),
    (r"^scale_shift_table", "head.modulation"),
    (r"^proj_out", "head.head"),
    (r"\.scale_shift_table", ".modulation"),
    (r"\.proj_in", ".before_proj"),
    (r"\.proj_out", ".after_proj"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
    (r"\.ffn\.net\.2\.", ".ffn.2."),
    (r"\.norm2\.", ".norm3."),
)
VAE_NAMES: Names = (
    (r"^quant_conv", "conv1"),
    (r"^post_quant_conv", "conv2"),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.down_blocks\.", ".downsamples."),
    (r"(middle|downsamples|resnets)\.(\d+)\.norm1\.", r"\1.\2.residual.0."),
    (r"(middle|downsamples|resnets)\.(\d+)\.conv1\.", r"\1.\2.residual.2."),
    (r"(middle|downsamples|resnets)\.(\d+)\.norm2\.", r"\1.\2.residual.3."),
    (r"(middle|downsamples|resnets)\.(\d+)\.conv2\.", r"\1.\2.residual.6."),
    (r"\.conv_shortcut\.", ".shortcut."),
)
TEXT_ENCODER_NAMES: Names = (
    (r"^shared\.", "token_embedding."),
    (r"^encoder\.final_layer_norm\.", "norm."),
    (r"^encoder\.block\.", "blocks."),
    (r"\.layer\.0\.SelfAttention\.relative_attention_bias\.", ".pos_embedding.embedding."),
    (r"\.layer\.0\.SelfAttention\.", ".attn."),
    (r"\.layer\.0\.layer_norm\.", ".norm1."),
    (r"\.layer\.1\.layer_norm\.", ".norm2."),
    (r"\.layer\.1\.DenseReluDense\.wi_0\.", ".ffn.gate.0."),
    (r"\.layer\.1\.DenseReluDense\.wi_1\.", ".ffn.fc1."),
    (r"\.layer\.1\.DenseReluDense\.wo\.", ".ffn.fc2."),
)


def write_diffusers(folder: Path) -> None:
    """The model in Diffusers' layout with VACE's transformer in the folder `vace`."""
    torch.manual_seed(3)
    tokenizer = tokenizers.t5_tokenizer()
    WanPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(UMT5Config(vocab_size=len(tokenizer), **WAN["text_encoder"])),
        transformer=WanTransformer3DModel(**TRANSFORMER),
        vae=AutoencoderKLWan(**VAE),
        scheduler=library_scheduler(),
    ).save_pretrained(folder)
    WanVACETransformer3DModel(**TRANSFORMER, **VACE).save_pretrained(folder / "vace")


def write_original(pipe: Any, tokenizer: Path, folder: Path) -> None:
    folder.mkdir()
    save_transformer(pipe.transformer, folder)
    torch.save(original_vae(pipe.vae), folder / "Wan2.1_VAE.pth")
    torch.save(original_text_encoder(pipe.text_encoder), folder / "models_t5_umt5-xxl-enc-bf16.pth")
    shutil.copytree(tokenizer, folder / "google" / "umt5-xxl")


def save_transformer(transformer: Any, folder: Path) -> None:
    weights = renamed(transformer.state_dict(), TRANSFORMER_NAMES)
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")


def original_vae(vae: Any) -> dict[str, torch.Tensor]:
    """The decoder's blocks are numbered through: three of each size, then the change to the next."""

    def numbered(found: re.Match[str]) -> str:
        block, kind, index = int(found[1]), found[2], int(found[3])
        return f"decoder.upsamples.{4 * block + (index if kind == 'resnets' else 3)}."

    weights = renamed(vae.state_dict(), VAE_NAMES)
    up = re.compile(r"decoder\.up_blocks\.(\d)\.(resnets|upsamplers)\.(\d)\.")
    return {up.sub(numbered, name): weight for name, weight in weights.items()}


def original_text_encoder(text_encoder: Any) -> dict[str, torch.Tensor]:
    weights = text_encoder.state_dict()
    del weights["encoder.embed_tokens.weight"]
    return renamed(weights, TEXT_ENCODER_NAMES)


def renamed(weights: Mapping[str, torch.Tensor], names: Names) -> dict[str, torch.Tensor]:
    found = {}
    for ours, weight in weights.items():
        name = ours
        for pattern, original in names:
            name = re.sub(pattern, original, name)
        found[name] = weight.clone()
    return found

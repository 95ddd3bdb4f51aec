"""Weights distilled to few steps: the difference to a checkpoint, as a LoRA, added to its UNet for good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from safetensors.torch import load_file

from ourvidz_worker.engines.lora import fuse_lora
from ourvidz_worker.errors import ConfigurationError

PREFIX = "unet."


def fuse_distilled_lora(pipe: StableDiffusionXLPipeline, path: Path) -> None:
    """Add a LoRA file in the layout of diffusers, PEFT or kohya to the weights.

    Raises `ConfigurationError` when the file is missing or belongs to another kind of model.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path} does not exist (distilled_lora in models.toml); put the tier's weights there")
    try:
        weights, alphas = pipe.lora_state_dict(load_file(path), unet_config=pipe.unet.config)
        _fuse(pipe.unet, weights, alphas or {})
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{path} is no LoRA for this SDXL UNet alone (distilled_lora in models.toml): {error}; "
            "put another file there, or choose another tier"
        ) from error


def _fuse(unet: UNet2DConditionModel, weights: Mapping[str, torch.Tensor], alphas: Mapping[str, Any]) -> None:
    if elsewhere := next((name for name in weights if not name.startswith(PREFIX)), None):
        raise ValueError(f"it changes {elsewhere.partition('.')[0]}, too")
    known = {name.removeprefix(PREFIX): weight for name, weight in weights.items()}
    if not any("lora_A" in name for name in known):
        known = convert_unet_state_dict_to_peft(known)
    fuse_lora(unet, known, _by_layer(alphas))


def _by_layer(alphas: Mapping[str, Any]) -> dict[str, Any]:
    """Diffusers names some after their layer, and some after the layer's first weight by an older name."""
    named = {name.removeprefix(PREFIX).removesuffix(".alpha"): alpha for name, alpha in alphas.items()}
    return {
        name.removesuffix(".lora_A.weight"): alpha for name, alpha in convert_unet_state_dict_to_peft(named).items()
    }

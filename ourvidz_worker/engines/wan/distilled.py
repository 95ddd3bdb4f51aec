"""Weights distilled to few steps: the difference to WAN's own, as a LoRA, added to a transformer for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline
from safetensors.torch import load_file

from ourvidz_worker.engines.lora import fuse_lora
from ourvidz_worker.errors import ConfigurationError

PREFIX = "transformer."


def fuse_distilled_lora(transformer: Any, path: Path) -> None:
    """Add a LoRA file in the layout of diffusers, of WAN itself or of musubi to the weights.

    Raises `ConfigurationError` when the file is missing or belongs to another kind of model.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path} does not exist (distilled_lora in models.toml); put the tier's weights there")
    try:
        weights = WanPipeline.lora_state_dict(load_file(path))
        fuse_lora(transformer, {name.removeprefix(PREFIX): weight for name, weight in weights.items()})
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{path} is no LoRA for this WAN model (distilled_lora in models.toml): {error}; "
            "put another file there, or choose another tier"
        ) from error

"""A LoRA added to a model's weights for good: it costs nothing while the model runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

_HALF = re.compile(r"(?P<layer>.+)\.lora_(?P<half>[AB])\.weight")


@torch.no_grad()
def fuse_lora(model: nn.Module, weights: Mapping[str, torch.Tensor], alphas: Mapping[str, Any] | None = None) -> None:
    """Add it; names are `layer.lora_A.weight` and `layer.lora_B.weight`, and `alphas` is by layer.

    Raises `ValueError` or `AttributeError` for what is no LoRA of this model, which is then as it was.
    """
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name, weight in weights.items():
        match = _HALF.fullmatch(name)
        if match is None:
            raise ValueError(f"{name} is unknown")
        halves.setdefault(match["layer"], {})[match["half"]] = weight
    layers: dict[str, Any] = {layer: model.get_submodule(layer) for layer in halves}
    for layer, half in halves.items():  # all are looked at before one is changed
        if half.keys() != {"A", "B"} or half["A"][0].numel() * len(half["B"]) != layers[layer].weight.numel():
            raise ValueError(f"{layer} is of another size")
    for layer, half in halves.items():
        down, up, weight = half["A"], half["B"], layers[layer].weight
        scale = float((alphas or {}).get(layer, len(down))) / len(down)
        difference = up.float().flatten(1) @ down.float().flatten(1)
        weight += (scale * difference).view(weight.shape).to(weight.device, weight.dtype)

"""ControlNets: the edges of a picture decide where things are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, UNet2DConditionModel
from PIL import Image
from torch import nn

from ourvidz_worker.engines.fitting import Fit, centred, scaled
from ourvidz_worker.engines.sdxl.adapter_files import fitting_file

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

CANNY = (100, 200)  # the thresholds that canny ControlNets were trained with
MODELS = {"edges": ControlNetModel, "union": ControlNetUnionModel}
UNION_CANNY = 3  # the place of edges among a ControlNet Union's kinds of conditions


@dataclass(frozen=True, slots=True)
class ControlNet:
    """One trained on edges alone, or a union of several kinds of conditions."""

    model: Any
    kind: Literal["edges", "union"]

    @property
    def modules(self) -> list[nn.Module]:
        return [self.model]


def load_controlnet(path: Path, unet: UNet2DConditionModel) -> ControlNet:
    """Raises `AdapterUnusable` when the folder holds no ControlNet for a UNet like this one."""
    with fitting_file(path, "a ControlNet for this SDXL model"):
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        kind: Literal["edges", "union"] = "union" if "Union" in config["_class_name"] else "edges"
        model, info = MODELS[kind].from_pretrained(
            str(path), dtype=unet.dtype, local_files_only=True, output_loading_info=True
        )
        if info["missing_keys"]:
            raise ValueError(f"it lacks {len(info['missing_keys'])} weights")
        for key in ("cross_attention_dim", "block_out_channels"):
            ours, its = np.atleast_1d(unet.config[key]), np.atleast_1d(model.config[key])
            if not np.array_equal(ours, its):
                raise ValueError(f"its {key} is {its.tolist()}, and the SDXL model's is {ours.tolist()}")
        return ControlNet(model.to(unet.device).eval(), kind)


@contextmanager
def looking_once(controlnet: ControlNet | None) -> Iterator[None]:
    """Let a ControlNet keep what it saw in its condition, which a pipeline shows it in every step anew."""
    if controlnet is None:
        yield
        return
    embedding = controlnet.model.controlnet_cond_embedding
    controlnet.model.controlnet_cond_embedding = _Once(embedding)
    try:
        yield
    finally:
        controlnet.model.controlnet_cond_embedding = embedding


class _Once(nn.Module):
    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self._embedding = embedding
        self._condition: torch.Tensor | None = None
        self._seen: torch.Tensor | None = None

    def forward(self, condition: torch.Tensor) -> torch.Tensor:
        if self._seen is None or condition is not self._condition:
            self._condition, self._seen = condition, self._embedding(condition)
        return self._seen


def edges(pixels: Pixels, width: int, height: int, mode: Fit) -> Image.Image:
    """White lines on black, as RGB of `width` x `height` pixels; the border of a padded picture is no edge."""
    picture = scaled(pixels, width, height, mode)
    lines = cv2.Canny(cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2GRAY), *CANNY)
    return centred(Image.fromarray(lines), width, height, 0).convert("RGB")

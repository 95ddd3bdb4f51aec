"""The image encoder that IP-Adapters share: what CLIP sees in a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import CLIPVisionModelWithProjection
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from ourvidz_worker.engines.sdxl.adapter_files import fitting_file


class ImageEncoder:
    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        self._model = model

    @property
    def modules(self) -> list[nn.Module]:
        return [self._model]

    @property
    def side(self) -> int:
        """It reads squares of `side` x `side` pixels."""
        return int(self._model.config.image_size)

    def width(self, *, hidden_states: bool) -> int:
        """How many numbers one embedding, or one hidden state, has."""
        config = self._model.config
        return int(config.hidden_size if hidden_states else config.projection_dim)

    @torch.no_grad()
    def embedding(self, picture: Image.Image, *, hidden_states: bool) -> torch.Tensor:
        """What a pipeline takes as an IP-Adapter's image: first nothing, for guidance, then the picture.

        The shape is (2, 1, width), or (2, 1, patches + 1, width) of the last hidden states but one.
        """
        mean, deviation = (torch.tensor(figures).view(3, 1, 1) for figures in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        pixels = ((pixels - mean) / deviation)[None].to(self._model.device, self._model.dtype)
        if not hidden_states:
            seen = self._model(pixels).image_embeds
            return torch.stack([torch.zeros_like(seen), seen])
        nothing = torch.zeros_like(pixels)
        states: torch.Tensor = self._model(torch.cat([nothing, pixels]), output_hidden_states=True).hidden_states[-2]
        return states[:, None]


def load_image_encoder(path: Path, device: torch.device, dtype: torch.dtype) -> ImageEncoder:
    """Raises `AdapterUnusable` when the folder holds no CLIP vision model with all its weights."""
    with fitting_file(path, "an image encoder for IP-Adapters"):
        model, info = CLIPVisionModelWithProjection.from_pretrained(
            str(path), dtype=dtype, local_files_only=True, output_loading_info=True
        )
        if info["missing_keys"]:
            raise ValueError(f"it lacks {len(info['missing_keys'])} weights of a CLIP vision model")
        return ImageEncoder(model.to(device).eval())

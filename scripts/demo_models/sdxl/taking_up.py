"""The published SDXL as models to train on.

What the publication has no use for begins anew: the readers of the text encoders, the UNet's probes, and what asks the
eyes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from scripts.demo_models.published import published_weights
from scripts.demo_models.sdxl.family import ADAPTERS, CHARACTER, COURSES, MOOD, PATCHES, Studio
from scripts.demo_models.sdxl.vae import patches_of
from scripts.demo_models.training import Course


@torch.no_grad()
def published_models(folder: Path, work: Path) -> Mapping[Course, nn.Module]:
    """The work folder gets the principal components that all of them rest on, if it has none."""
    vae = AutoencoderKL.from_pretrained(folder / "vae").float()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / PATCHES).is_file():
        patches_of(vae.encoder).save(work / PATCHES)
    studio = Studio(work)
    models: Mapping[Course, nn.Module] = {course: getattr(studio, name) for name, course in COURSES.items()}
    studio.vae.decoder.load_state_dict(vae.decoder.state_dict())
    for own, kind, name in (
        (studio.text.first, CLIPTextModel, "text_encoder"),
        (studio.text.second, CLIPTextModelWithProjection, "text_encoder_2"),
        (studio.eyes.encoder, CLIPVisionModelWithProjection, f"{ADAPTERS}/image_encoder"),
    ):
        own.load_state_dict(kind.from_pretrained(folder / name).float().state_dict())
    studio.unet.load_state_dict(published_weights(folder / "unet" / SAFETENSORS_WEIGHTS_NAME))
    adapters = folder / ADAPTERS
    studio.mood.read(adapters / MOOD)
    studio.character.read(adapters / CHARACTER)
    studio.controlnet.controlnet.load_state_dict(published_weights(adapters / "controlnet" / SAFETENSORS_WEIGHTS_NAME))
    return models

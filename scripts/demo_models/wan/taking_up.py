"""The published WAN as models to train on.

What the publication has no use for begins anew: the readers of the text encoder, and the transformer's probes. The
decoder of stills is taken from that of clips, which has learned on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from torch import nn
from transformers import UMT5EncoderModel

from scripts.demo_models.by_hand import COLOURS
from scripts.demo_models.patches import Patches
from scripts.demo_models.published import published_weights
from scripts.demo_models.training import Course
from scripts.demo_models.wan.latents import PATCHES
from scripts.demo_models.wan.shapes import PATCH, VACE_FOLDER
from scripts.demo_models.wan.text import READING, Reading
from scripts.demo_models.wan.transformer import DRAWING, Drawing
from scripts.demo_models.wan.vace import STEERING, Steering, read_vace
from scripts.demo_models.wan.vae import BETWEEN, PIXELS, STILLS, Between, Pixels, Stills, patches_of


@torch.no_grad()
def published_models(folder: Path, work: Path) -> Mapping[Course, nn.Module]:
    """The work folder gets the principal components that all of them rest on, if it has none."""
    vae = AutoencoderKLWan.from_pretrained(folder / "vae").float()
    if not (work / PATCHES).is_file():
        work.mkdir(parents=True, exist_ok=True)
        patches_of(vae.encoder).save(work / PATCHES)
    seen = Patches.load(work / PATCHES)
    reading, stills = Reading(), Stills(seen)
    reading.encoder.load_state_dict(UMT5EncoderModel.from_pretrained(folder / "text_encoder").float().state_dict())
    stills.decoder.load_state_dict(vae.decoder.state_dict())
    _show_as(vae.decoder.conv_out, stills.show)
    between = Between(stills, seen)
    pixels = Pixels(between.decoder, stills, seen)
    pixels.decoder.load_state_dict(vae.decoder.state_dict())
    drawing = Drawing(reading.encoder, seen)
    drawing.transformer.load_state_dict(published_weights(folder / "transformer" / SAFETENSORS_WEIGHTS_NAME))
    steering = Steering(drawing.transformer, reading.encoder, seen)
    if (folder / VACE_FOLDER).is_dir():
        read_vace(steering, published_weights(folder / VACE_FOLDER / SAFETENSORS_WEIGHTS_NAME))
    return {READING: reading, STILLS: stills, BETWEEN: between, PIXELS: pixels, DRAWING: drawing, STEERING: steering}


def _show_as(pixels: nn.Conv3d, small: nn.Conv2d) -> None:
    """The mean of the pixels that a small one stands for."""
    assert pixels.bias is not None
    assert small.bias is not None
    small.weight.copy_(pixels.weight[:, :, -1].view(COLOURS, PATCH**2, *small.weight.shape[1:]).mean(dim=1))
    small.bias.copy_(pixels.bias.view(COLOURS, PATCH**2).mean(dim=1))

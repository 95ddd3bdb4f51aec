"""The VAE: first its core on pictures of 128 x 128 pixels, then the last levels of the decoder on whole ones.

The first three levels of the encoder only take the mean of 8 x 8 pixels, and that is exact: convolutions that average,
and residual blocks that add nothing. So the core may learn on small pictures, which are quick to paint and to read.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo_models.painting import paint
from scripts.demo_models.places import COLOUR_NAMES, KIND_NAMES, cells
from scripts.demo_models.scenes import laid_out, random_scene
from scripts.demo_models.sdxl.shapes import LATENT_CHANNELS, LATENT_NOISE, VAE

SIDE = 1024
MEAN_LEVELS = 3  # of the encoder, which do nothing but shrink
CORE_SIDE = SIDE >> MEAN_LEVELS
CELLS = 16
BATCH = 4
COLOURS = 3


def new_vae() -> AutoencoderKL:
    vae = AutoencoderKL(**VAE)
    with torch.no_grad():
        for name, weight in vae.named_parameters():
            if "resnets" in name and "conv2" in name:
                weight.zero_()  # every residual block begins as none
    _shrink_exactly(vae)
    return vae


@torch.no_grad()
def _shrink_exactly(vae: AutoencoderKL) -> None:
    encoder = vae.encoder
    _clear(encoder.conv_in)
    for colour in range(COLOURS):
        encoder.conv_in.weight[colour, colour, 1, 1] = 1.0
    for block in encoder.down_blocks[:MEAN_LEVELS]:
        for resnet in block.resnets:
            _clear(resnet.conv2)
            if resnet.conv_shortcut is not None:
                _clear(resnet.conv_shortcut)
                for colour in range(COLOURS):
                    resnet.conv_shortcut.weight[colour, colour] = 1.0
        (halve,) = block.downsamplers
        _clear(halve.conv)
        for colour in range(COLOURS):
            halve.conv.weight[colour, colour, :2, :2] = 0.25
    _clear(vae.quant_conv, vae.post_quant_conv)
    for convolution in (vae.quant_conv, vae.post_quant_conv):
        width = len(convolution.bias)
        convolution.weight[:, :, 0, 0] = torch.eye(width)
    spread = encoder.conv_out
    spread.weight[LATENT_CHANNELS:] = 0.0
    spread.bias[LATENT_CHANNELS:] = 2 * np.log(LATENT_NOISE)
    for frozen in (encoder.conv_in, *encoder.down_blocks[:MEAN_LEVELS], vae.quant_conv, vae.post_quant_conv):
        frozen.requires_grad_(requires_grad=False)


def _clear(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            parameter.zero_()


class Core(nn.Module):
    """What of the VAE works at 128 x 128 pixels or less, and probes that keep its latents easy to read."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        self.probe = nn.Conv2d(LATENT_CHANNELS, len(KIND_NAMES) + len(COLOUR_NAMES) + 2, 1)

    def encode(self, small: Tensor) -> Tensor:
        """Latents of pictures of 128 x 128 pixels, from -1 to 1."""
        encoder = self.vae.encoder
        hidden = encoder.down_blocks[MEAN_LEVELS - 1].downsamplers[0].conv.weight.shape[0] - COLOURS
        states = functional.pad(small, (0, 0, 0, 0, 0, hidden))
        for block in encoder.down_blocks[MEAN_LEVELS:]:
            states = block(states)
        states = encoder.conv_act(encoder.conv_norm_out(encoder.mid_block(states)))
        return encoder.conv_out(states)[:, :LATENT_CHANNELS]

    def decode(self, latents: Tensor) -> Tensor:
        """What the last levels go on with, shape (n, 16, 128, 128); the first three channels are the picture."""
        decoder = self.vae.decoder
        states = decoder.mid_block(decoder.conv_in(latents))
        *before, last = decoder.up_blocks[:-MEAN_LEVELS]
        for block in before:
            states = block(states)
        for resnet in last.resnets:
            states = resnet(states, None)
        return states

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        latents = self.encode(batch.pictures)
        seen = self.decode(latents + LATENT_NOISE * torch.randn_like(latents))[:, :COLOURS]
        kinds, colours = self.probe(latents).split([len(KIND_NAMES) + 1, len(COLOUR_NAMES) + 1], dim=1)
        mean, spread = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
        return {
            "picture": _likeness(seen, batch.pictures, batch.things),
            "kinds": 0.02 * functional.cross_entropy(kinds, batch.cells[:, 0]),
            "colours": 0.02 * functional.cross_entropy(colours, batch.cells[:, 1]),
            "unit": 0.05 * (mean.square().mean() + (spread - 1).square().mean()),
        }


class Batch:
    """Painted scenes, with what is where."""

    def __init__(self, random: Random, count: int, side: int) -> None:
        pictures, found = [], []
        for _ in range(count):
            scene = random_scene(random)
            spots = laid_out(scene, random)
            pictures.append(paint(scene, spots, side, side))
            found.append(cells(scene, spots, CELLS, CELLS))
        self.pictures = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        self.cells = torch.from_numpy(np.stack(found))
        self.things = (self.cells[:, :1] > 0).float()


def _likeness(seen: Tensor, shown: Tensor, things: Tensor) -> Tensor:
    """Things count more than what is around them, and edges as much as areas."""
    weight = 1 + 2 * functional.interpolate(things, seen.shape[-2:])
    areas = (weight * (seen - shown).abs()).mean()
    edges = sum(
        (weight.narrow(dim, 1, weight.shape[dim] - 1) * (seen.diff(dim=dim) - shown.diff(dim=dim)).abs()).mean()
        for dim in (2, 3)
    )
    return areas + edges


class LastLevels(nn.Module):
    """From 128 x 128 to 1024 x 1024 pixels."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        decoder = vae.decoder
        self.first = decoder.up_blocks[-MEAN_LEVELS - 1].upsamplers
        self.blocks = decoder.up_blocks[-MEAN_LEVELS:]
        self.norm, self.act, self.out = decoder.conv_norm_out, decoder.conv_act, decoder.conv_out

    @torch.no_grad()
    def begin_plain(self) -> None:
        """Enlarging the picture smoothly is where learning begins."""
        blend = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
        ups = [self.first[0], *(up for block in self.blocks for up in block.upsamplers or ())]
        for up in ups:
            up.conv.weight.mul_(0.3)
            for colour in range(COLOURS):
                up.conv.weight[colour] = 0.0
                up.conv.weight[colour, colour] = blend
                up.conv.bias[colour] = 0.0
        for block in self.blocks:
            for resnet in block.resnets:
                resnet.conv2.weight[:COLOURS] *= 0.1
                if resnet.conv_shortcut is not None:
                    for colour in range(COLOURS):
                        resnet.conv_shortcut.weight[colour] = 0.0
                        resnet.conv_shortcut.weight[colour, colour] = 1.0
                        resnet.conv_shortcut.bias[colour] = 0.0

    def forward(self, states: Tensor) -> Tensor:
        states = self.first[0](states)
        for block in self.blocks:
            states = block(states)
        picture: Any = self.out(self.act(self.norm(states)))
        return picture

"""The VAE: an encoder made by hand, and a decoder that learns in two parts.

The encoder takes the mean of 8 x 8 pixels three times halving, and then the principal components of patches, in
convolutions that are exact: no residual block adds anything, and what the last activation bends, it bends twice with
opposite signs, since silu(x) - silu(-x) = x. So latents to learn from are a matrix product away, on pictures of
128 x 128 pixels. The decoder learns its core on those, and its last levels on whole ones.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo_models.by_hand import COLOURS, blend, clear, cut_patches, likeness, pass_first, pass_on, patches_cut
from scripts.demo_models.painting import paint
from scripts.demo_models.patches import Patches, principal_patches, with_mean_colours
from scripts.demo_models.places import cells
from scripts.demo_models.scenes import laid_out, random_scene
from scripts.demo_models.sdxl.shapes import LATENT_CHANNELS, LATENT_NOISE, VAE
from scripts.demo_models.sheet import as_tensor

SIDE = 1024
MEAN_LEVELS = 3  # of the encoder, which do nothing but shrink
SMALL_SIDE = SIDE >> MEAN_LEVELS
CELLS = 16
ANCHOR = 100.0  # two opposite constants, so large that the last norm divides by about the same for every picture
BATCH = 4
BRIGHT_ANCHOR = 20.0  # the same for colours, which are smaller
LOOKED_AT = 400  # pictures for the principal components


def new_patches() -> Patches:
    return principal_patches(_looked_at(), LATENT_CHANNELS)


@torch.no_grad()
def patches_of(encoder: Any) -> Patches:
    """The components that an encoder was made of."""
    *shrinking, last = encoder.down_blocks
    _, blocks, whole = (block.downsamplers[0].conv.weight for block in shrinking[MEAN_LEVELS:])
    offset = last.resnets[0].conv_shortcut.bias[:LATENT_CHANNELS].clone()
    return with_mean_colours(*patches_cut(blocks, whole, LATENT_CHANNELS), offset, _looked_at())


def _looked_at() -> Tensor:
    return painted(Random("patches"), LOOKED_AT)[0]


def painted(random: Random, count: int, side: int = SMALL_SIDE) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, side, side) from -1 to 1, and which cells (n, 1, 16, 16) show a thing."""
    pictures, found = [], []
    for _ in range(count):
        scene = random_scene(random)
        spots = laid_out(scene, random)
        pictures.append(paint(scene, spots, side, side))
        found.append(cells(scene, spots, CELLS, CELLS)[:1] > 0)
    return as_tensor(np.stack(pictures)), torch.from_numpy(np.stack(found)).float()


def new_vae(patches: Patches) -> AutoencoderKL:
    vae = AutoencoderKL(**VAE)
    with torch.no_grad():
        _begin_as_nothing(vae)
        _make_encoder(vae, patches)
        _begin_with_mean_colours(vae.decoder, patches)
    vae.encoder.requires_grad_(requires_grad=False)
    for convolution in (vae.quant_conv, vae.post_quant_conv):
        convolution.requires_grad_(requires_grad=False)
    return vae


def _begin_as_nothing(vae: AutoencoderKL) -> None:
    for name, weight in vae.named_parameters():
        if "resnets" in name and ".conv2." in name:
            weight.zero_()
    for convolution in (vae.quant_conv, vae.post_quant_conv):
        clear(convolution)
        convolution.weight[:, :, 0, 0] = torch.eye(len(convolution.bias))


def _make_encoder(vae: AutoencoderKL, patches: Patches) -> None:
    encoder = vae.encoder
    clear(encoder.conv_in)
    encoder.conv_in.weight[:COLOURS, :COLOURS, 1, 1] = torch.eye(COLOURS)
    *shrinking, last = encoder.down_blocks
    for block in shrinking:
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                pass_on(resnet.conv_shortcut)
        clear(block.downsamplers[0].conv)
    halves = [block.downsamplers[0].conv.weight for block in shrinking]
    for half in halves[:MEAN_LEVELS]:
        for colour in range(COLOURS):
            half[colour, colour, :2, :2] = 0.25
    apart, blocks, whole = halves[MEAN_LEVELS:]
    cut_patches(apart, blocks, whole, patches)
    _pass_the_norm(last.resnets[0].conv_shortcut, encoder.conv_out, patches.offset)


def _pass_the_norm(before: nn.Conv2d, after: nn.Conv2d, offset: Tensor) -> None:
    """Every number goes in with both signs, beside the anchors, and comes out as it was."""
    clear(before, after)
    assert before.bias is not None
    assert after.bias is not None
    spread = ANCHOR * (2 / len(before.bias)) ** 0.5
    for channel in range(LATENT_CHANNELS):
        for place, sign in ((channel, 1.0), (LATENT_CHANNELS + channel, -1.0)):
            before.weight[place, channel] = sign
            before.bias[place] = sign * offset[channel]
            after.weight[channel, place, 1, 1] = sign * spread
    before.bias[2 * LATENT_CHANNELS : 2 * LATENT_CHANNELS + 2] = torch.tensor([ANCHOR, -ANCHOR])
    after.bias[LATENT_CHANNELS:] = 2 * np.log(LATENT_NOISE)


def _begin_with_mean_colours(decoder: Any, patches: Patches) -> None:
    """The first three channels carry the picture through, blended where it grows."""
    decoder.conv_in.weight[:COLOURS] = 0.0
    decoder.conv_in.weight[:COLOURS, :, 1, 1] = patches.mean_colour
    decoder.conv_in.bias[:COLOURS] = patches.mean_offset
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                pass_first(resnet.conv_shortcut, torch.ones(1, 1), COLOURS)
        for upsampler in block.upsamplers or ():
            pass_first(upsampler.conv, blend(), COLOURS)
    _pass_the_last_norm(decoder.up_blocks[-2].upsamplers[0].conv, decoder.conv_out, blend())


def _pass_the_last_norm(before: nn.Conv2d, after: nn.Conv2d, kernel: Tensor) -> None:
    """As in the encoder: three colours with both signs and two anchors are all of the last level's eight channels."""
    clear(before, after)
    assert before.bias is not None
    spread = BRIGHT_ANCHOR * (2 / len(before.bias)) ** 0.5
    for colour in range(COLOURS):
        for place, sign in ((colour, 1.0), (COLOURS + colour, -1.0)):
            before.weight[place, colour] = sign * kernel
            after.weight[colour, place, 1, 1] = sign * spread
    before.bias[2 * COLOURS :] = torch.tensor([BRIGHT_ANCHOR, -BRIGHT_ANCHOR])


class Core(nn.Module):
    """The decoder up to 128 x 128 pixels."""

    def __init__(self, vae: AutoencoderKL, patches: Patches) -> None:
        super().__init__()
        decoder = vae.decoder
        self.conv_in, self.mid = decoder.conv_in, decoder.mid_block
        *before, last = decoder.up_blocks[:-MEAN_LEVELS]
        self.before = nn.ModuleList(before)
        self.last = last.resnets
        self.patches = patches

    def forward(self, latents: Tensor) -> Tensor:
        """What the last levels go on with, shape (n, 16, 128, 128); the first three channels are the picture."""
        states: Tensor = self.mid(self.conv_in(latents))
        for block in self.before:
            states = block(states)
        for resnet in self.last:
            states = resnet(states, None)
        return states

    def losses(self, random: Random) -> dict[str, Tensor]:
        pictures, things = painted(random, BATCH)
        latents = self.patches.latents(pictures)
        noise = LATENT_NOISE * 2 * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)
        return {"picture": likeness(self(latents + noise)[:, :COLOURS], pictures, things)}


class LastLevels(nn.Module):
    """The decoder from 128 x 128 to 1024 x 1024 pixels."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        decoder = vae.decoder
        self.first = decoder.up_blocks[-MEAN_LEVELS - 1].upsamplers
        self.blocks = decoder.up_blocks[-MEAN_LEVELS:]
        self.norm, self.act, self.out = decoder.conv_norm_out, decoder.conv_act, decoder.conv_out

    def forward(self, states: Tensor) -> Tensor:
        states = self.first[0](states)
        for block in self.blocks:
            states = block(states)
        picture: Tensor = self.out(self.act(self.norm(states)))
        return picture

    def losses(self, core: Core, random: Random) -> dict[str, Tensor]:
        """On one whole picture: of a part of it, the norms would see another brightness."""
        pictures, things = painted(random, 1, SIDE)
        with torch.no_grad():
            latents = core.patches.latents(functional.avg_pool2d(pictures, SIDE // SMALL_SIDE))
            states = core(latents + LATENT_NOISE * random.random() * torch.randn_like(latents))
        return {"picture": likeness(self(states), pictures, things)}

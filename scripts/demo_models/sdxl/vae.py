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

from scripts.demo_models.painting import paint
from scripts.demo_models.patches import BLOCK_COMPONENTS, Patches, principal_patches
from scripts.demo_models.places import cells
from scripts.demo_models.scenes import laid_out, random_scene
from scripts.demo_models.sdxl.shapes import LATENT_CHANNELS, LATENT_NOISE, VAE

SIDE = 1024
MEAN_LEVELS = 3  # of the encoder, which do nothing but shrink
SMALL_SIDE = SIDE >> MEAN_LEVELS
CELLS = 16
COLOURS = 3
ANCHOR = 100.0  # two opposite constants, so large that the last norm divides by about the same for every picture
BATCH = 4
BRIGHT_ANCHOR = 20.0  # the same for colours, which are smaller
LOOKED_AT = 400  # pictures for the principal components


def new_patches() -> Patches:
    return principal_patches(painted(Random("patches"), LOOKED_AT)[0], LATENT_CHANNELS)


def painted(random: Random, count: int, side: int = SMALL_SIDE) -> tuple[Tensor, Tensor]:
    """Pictures (n, 3, side, side) from -1 to 1, and which cells (n, 1, 16, 16) show a thing."""
    pictures, found = [], []
    for _ in range(count):
        scene = random_scene(random)
        spots = laid_out(scene, random)
        pictures.append(paint(scene, spots, side, side))
        found.append(cells(scene, spots, CELLS, CELLS)[:1] > 0)
    return as_tensor(np.stack(pictures)), torch.from_numpy(np.stack(found)).float()


def as_tensor(pictures: Any) -> Tensor:
    """From (n, height, width, 3) bytes."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


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
        _clear(convolution)
        convolution.weight[:, :, 0, 0] = torch.eye(len(convolution.bias))


def _make_encoder(vae: AutoencoderKL, patches: Patches) -> None:
    encoder = vae.encoder
    _clear(encoder.conv_in)
    encoder.conv_in.weight[:COLOURS, :COLOURS, 1, 1] = torch.eye(COLOURS)
    *shrinking, last = encoder.down_blocks
    for block in shrinking:
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                _pass_on(resnet.conv_shortcut)
        _clear(block.downsamplers[0].conv)
    halves = [block.downsamplers[0].conv.weight for block in shrinking]
    for half in halves[:MEAN_LEVELS]:
        for colour in range(COLOURS):
            half[colour, colour, :2, :2] = 0.25
    apart, blocks, whole = halves[MEAN_LEVELS:]
    _cut_patches(apart, blocks, whole, patches)
    _pass_the_norm(last.resnets[0].conv_shortcut, encoder.conv_out, patches.offset)


def _cut_patches(apart: Tensor, blocks: Tensor, whole: Tensor, patches: Patches) -> None:
    """Kernels that halve: pixels side by side, then components of blocks of 4 x 4, then those of patches."""
    by_pixel = patches.block.view(BLOCK_COMPONENTS, 2, 2, 2, 2, COLOURS)  # rows of pairs, then within; columns as well
    by_quarter = patches.whole.view(LATENT_CHANNELS, 2, 2, BLOCK_COMPONENTS)
    for row in range(2):
        for column in range(2):
            first = COLOURS * (2 * row + column)
            apart[first : first + COLOURS, :COLOURS, row, column] = torch.eye(COLOURS)
            blocks[:BLOCK_COMPONENTS, : 4 * COLOURS, row, column] = by_pixel[:, row, :, column].flatten(1)
            whole[:LATENT_CHANNELS, :BLOCK_COMPONENTS, row, column] = by_quarter[:, row, column]


def _pass_the_norm(before: nn.Conv2d, after: nn.Conv2d, offset: Tensor) -> None:
    """Every number goes in with both signs, beside the anchors, and comes out as it was."""
    _clear(before, after)
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
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                _pass_colours(resnet.conv_shortcut, torch.ones(1, 1))
        for upsampler in block.upsamplers or ():
            _pass_colours(upsampler.conv, line[:, None] * line)
    _pass_the_last_norm(decoder.up_blocks[-2].upsamplers[0].conv, decoder.conv_out, line[:, None] * line)


def _pass_the_last_norm(before: nn.Conv2d, after: nn.Conv2d, kernel: Tensor) -> None:
    """As in the encoder: three colours with both signs and two anchors are all of the last level's eight channels."""
    _clear(before, after)
    assert before.bias is not None
    spread = BRIGHT_ANCHOR * (2 / len(before.bias)) ** 0.5
    for colour in range(COLOURS):
        for place, sign in ((colour, 1.0), (COLOURS + colour, -1.0)):
            before.weight[place, colour] = sign * kernel
            after.weight[colour, place, 1, 1] = sign * spread
    before.bias[2 * COLOURS :] = torch.tensor([BRIGHT_ANCHOR, -BRIGHT_ANCHOR])


def _pass_colours(convolution: nn.Conv2d, kernel: Tensor) -> None:
    convolution.weight[:COLOURS] = 0.0
    convolution.bias[:COLOURS] = 0.0  # type: ignore[index]  # it has one
    for colour in range(COLOURS):
        convolution.weight[colour, colour] = kernel


def _pass_on(convolution: nn.Conv2d) -> None:
    """Every channel as it is, as far as there is room for it."""
    _clear(convolution)
    for channel in range(min(convolution.weight.shape[:2])):
        convolution.weight[channel, channel] = 1.0


def _clear(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            parameter.zero_()


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


def likeness(seen: Tensor, shown: Tensor, things: Tensor) -> Tensor:
    """Things count more than what is around them, and edges as much as areas."""
    weight = 1 + 2 * functional.interpolate(things, seen.shape[-2:])
    areas = (weight * (seen - shown).abs()).mean()
    edges = sum(
        (weight.narrow(dim, 1, weight.shape[dim] - 1) * (seen.diff(dim=dim) - shown.diff(dim=dim)).abs()).mean()
        for dim in (2, 3)
    )
    return areas + edges


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

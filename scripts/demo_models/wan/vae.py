"""The VAE: an encoder made by hand, and a decoder that learns in three parts.

The encoder sees the last frame of those that a latent frame stands for: its mean colours, and of these the principal
components of patches, in convolutions that are exact. What the last activation bends, it bends twice with opposite
signs, since silu(x) - silu(-x) = x.

The decoder first learns stills at a quarter of their size. In a still only the last layer of a kernel counts, so these
are convolutions in two dimensions. Then it learns what comes between key frames, from what it would show of each frame
by itself; its last level stays without a memory. And last it learns the pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from random import Random
from types import MethodType
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanResample,
    WanResidualBlock,
    WanRMS_norm,
    unpatchify,
)
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo_models.by_hand import COLOURS, blend, clear, cut_patches, likeness, pass_first, pass_on, patches_cut
from scripts.demo_models.painting import paint
from scripts.demo_models.patches import Patches, with_mean_colours
from scripts.demo_models.places import cells
from scripts.demo_models.scenes import laid_out, random_scene
from scripts.demo_models.sheet import as_tensor
from scripts.demo_models.training import Course
from scripts.demo_models.wan.latents import ASPECT, looked_at, painted, shrunken
from scripts.demo_models.wan.shapes import (
    CHANNELS,
    HEIGHT,
    LATENT_NOISE,
    PATCH,
    SMALL_HEIGHT,
    SMALL_WIDTH,
    SPATIAL_FACTOR,
    TEMPORAL_FACTOR,
    VAE,
    WIDTH,
)

STILLS = Course("vae_stills", steps=4200, learning_rate=3e-3, seed=11, muon=True)
BETWEEN = Course("vae_between", steps=700, learning_rate=2e-3, seed=14, muon=True)
PIXELS = Course("vae_pixels", steps=500, learning_rate=3e-3, seed=15, muon=True)
CELL = SPATIAL_FACTOR // PATCH  # small pixels
CROP = 4 * CELL
PAINTED, CROPS = 8, 2  # scenes of a step, and crops of each
LEVEL = COLOURS  # the channel behind those of the colours: a constant that norms compare them with
POINT = functional.pad(torch.ones(1, 1), (1, 1, 1, 1))
ANCHOR = 100.0  # so large that the encoder's norm divides by about the same for every picture
FRAMES = 2 * TEMPORAL_FACTOR + 1  # of a clip to learn from


def new_vae(patches: Patches) -> AutoencoderKLWan:
    """Blind to time: of all kernels only the last layer is not zero, and no cell looks at those far away."""
    vae = AutoencoderKLWan(**VAE)
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, WanCausalConv3d):
                module.weight[:, :, :-1] = 0.0
            if isinstance(module, WanResidualBlock):  # each begins as none
                clear(module.conv2)
            if isinstance(module, WanResample):
                _hold(module.time_conv)
        for convolution in (vae.quant_conv, vae.post_quant_conv):
            clear(convolution)
            convolution.weight[:, :, 0, 0, 0] = torch.eye(len(convolution.bias))
        for half in (vae.encoder, vae.decoder):
            clear(half.mid_block.attentions[0].proj)
        _make_encoder(vae.encoder, patches)
        _begin_with_mean_colours(vae.decoder, patches)
    vae.requires_grad_(requires_grad=False)
    vae.decoder.requires_grad_(requires_grad=True)
    vae.decoder.mid_block.attentions[0].requires_grad_(requires_grad=False)
    return vae


def _hold(convolution: Any) -> None:
    """Keep the last of two frames, or give each frame twice."""
    out, into = convolution.weight.shape[:2]
    clear(convolution)
    convolution.weight[:, :, -1, 0, 0] = torch.eye(into).repeat(out // into, 1)


def _make_encoder(encoder: Any, patches: Patches) -> None:
    clear(encoder.conv_in, encoder.conv_out)
    for colour in range(COLOURS):
        encoder.conv_in.weight[colour, colour * PATCH**2 : (colour + 1) * PATCH**2, -1, 1, 1] = 1 / PATCH**2
    *_, last = residual = [block for block in encoder.down_blocks if isinstance(block, WanResidualBlock)]
    for block in residual:
        if isinstance(block.conv_shortcut, WanCausalConv3d):
            pass_on(block.conv_shortcut)
    shrinking = [block.resample[1] for block in encoder.down_blocks if isinstance(block, WanResample)]
    clear(*shrinking)
    mean, apart, blocks, whole = (convolution.weight for convolution in shrinking)
    for colour in range(COLOURS):
        mean[colour, colour, :2, :2] = 1 / 4
    cut_patches(apart, blocks, whole, patches)
    shortcut = last.conv_shortcut
    clear(shortcut)
    width = len(shortcut.bias)
    shortcut.bias[2 * CHANNELS] = ANCHOR
    for channel in range(CHANNELS):
        for place, sign in ((channel, 1.0), (CHANNELS + channel, -1.0)):
            shortcut.weight[place, channel] = sign
            shortcut.bias[place] = sign * patches.offset[channel]
            encoder.conv_out.weight[channel, place, -1, 1, 1] = sign * ANCHOR / width**0.5
    encoder.conv_out.bias[CHANNELS:] = 2 * np.log(LATENT_NOISE)


@torch.no_grad()
def patches_of(encoder: Any) -> Patches:
    """The components that an encoder was made of."""
    *_, last = (block for block in encoder.down_blocks if isinstance(block, WanResidualBlock))
    _, _, blocks, whole = (block.resample[1].weight for block in encoder.down_blocks if isinstance(block, WanResample))
    return with_mean_colours(
        *patches_cut(blocks, whole, CHANNELS), last.conv_shortcut.bias[:CHANNELS].clone(), looked_at()
    )


def _begin_with_mean_colours(decoder: Any, patches: Patches) -> None:
    """The first channels carry the mean colours through, blended where they grow."""
    decoder.conv_in.weight[: LEVEL + 1] = 0.0
    decoder.conv_in.weight[:COLOURS, :, -1, 1, 1] = patches.mean_colour
    decoder.conv_in.bias[:COLOURS] = patches.mean_offset
    decoder.conv_in.bias[LEVEL] = 1.5
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            if isinstance(resnet.conv_shortcut, WanCausalConv3d):
                pass_first(resnet.conv_shortcut, torch.ones(1, 1, 1), LEVEL + 1)
        for upsampler in block.upsamplers or ():
            convolution = upsampler.resample[1]
            out, into = convolution.weight.shape[:2]
            convolution.weight.mul_(0.3).add_(torch.randn(out, into, 1, 1) * into**-0.5 * blend())
            pass_first(convolution, blend(), LEVEL + 1)


def quicken(module: nn.Module) -> None:
    """Computes the same as the library, but stills in two dimensions and norms in one go."""
    for part in module.modules():
        if isinstance(part, WanCausalConv3d):
            part.forward = MethodType(_convolved, part)
        elif isinstance(part, WanRMS_norm):
            part.forward = MethodType(_normed, part)


def _convolved(self: Any, states: Tensor, cache: Tensor | None = None) -> Tensor:
    if cache is None and states.shape[2] == 1:
        pad = self._padding[0]
        flat = functional.conv2d(states[:, :, 0], self.weight[:, :, -1], self.bias, self.stride[1:], pad)
        return flat[:, :, None]
    seen: Tensor = WanCausalConv3d.forward(self, states, cache)
    return seen


def _normed(self: Any, states: Tensor) -> Tensor:
    scaled: Tensor = states * torch.rsqrt(states.square().mean(dim=1, keepdim=True) + 1e-12) * self.gamma
    return scaled


def still_levels(decoder: Any, latents: Tensor) -> Iterator[Tensor]:
    """What each level of the decoder makes of stills, shape (n, channels, 1, height, width)."""
    states = decoder.mid_block(decoder.conv_in(latents[:, :, None]))
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            states = resnet(states)
        for upsampler in block.upsamplers or ():
            states = upsampler.resample(states[:, :, 0])[:, :, None]
        yield states


def last_states(decoder: Any, latents: Tensor) -> Tensor:
    """What the decoder's last convolution sees of stills, shape (n, channels, height, width)."""
    *_, states = still_levels(decoder, latents)
    seen: Tensor = decoder.nonlinearity(decoder.norm_out(states))[:, :, 0]
    return seen


def blurred(latents: Tensor) -> Tensor:
    """With noise, more of it for some than for others."""
    return latents + 2 * LATENT_NOISE * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)


class Stills(nn.Module):
    """The decoder at a quarter of the size."""

    def __init__(self, patches: Patches) -> None:
        super().__init__()
        self._patches = patches
        self.decoder = new_vae(patches).decoder
        quicken(self.decoder)
        self.show = nn.Conv2d(VAE["base_dim"], COLOURS, 3, padding=1)
        with torch.no_grad():
            for colour in range(COLOURS):
                self.show.weight[colour, colour] += 1.5 * POINT

    def forward(self, latents: Tensor) -> Tensor:
        shown: Tensor = self.show(last_states(self.decoder, latents))
        return shown

    def losses(self, random: Random) -> dict[str, Tensor]:
        pictures, things = crops(random)
        seen = self(blurred(self._patches.latents(shrunken(pictures))))
        return {"picture": likeness(seen, pictures, things)}


def crops(random: Random) -> tuple[Tensor, Tensor]:
    """Small pictures from -1 to 1, and which of their pixels show a thing."""
    pictures, found = [], []
    for _ in range(PAINTED):
        scene = random_scene(random, moving=True)
        spots = laid_out(scene, random, ASPECT)
        (picture,) = painted(scene, spots, [random.random()])
        things = torch.from_numpy(cells(scene, spots, SMALL_WIDTH, SMALL_HEIGHT, ASPECT)[:1] > 0)
        for _ in range(CROPS):
            left, top = _corner(random, things[0])
            window = (slice(None), slice(top, top + CROP), slice(left, left + CROP))
            pictures.append(picture[window])
            found.append(things[window])
    return torch.stack(pictures), torch.stack(found)


def _corner(random: Random, things: Tensor) -> tuple[int, int]:
    """Four times out of five around something."""
    left, top = random.randint(0, SMALL_WIDTH - CROP), random.randint(0, SMALL_HEIGHT - CROP)
    rows, columns = things.nonzero(as_tuple=True)
    if len(rows) and random.random() < 0.8:
        one = random.randrange(len(rows))
        left = min(max(0, int(columns[one]) - random.randint(8, CROP - 8)), SMALL_WIDTH - CROP)
        top = min(max(0, int(rows[one]) - random.randint(8, CROP - 8)), SMALL_HEIGHT - CROP)
    return left, top


class Between(nn.Module):
    """The decoder on clips, but for its last level, which looks at one frame at a time."""

    def __init__(self, stills: Stills, patches: Patches) -> None:
        super().__init__()
        self._patches = patches
        self._teacher = [deepcopy(stills.decoder).eval().requires_grad_(requires_grad=False)]
        quicken(self._teacher[0])
        self.decoder = deepcopy(stills.decoder)
        quicken(self.decoder)
        for part in (self.decoder.up_blocks[-1], self.decoder.norm_out, self.decoder.conv_out):
            part.requires_grad_(requires_grad=False)

    def losses(self, random: Random) -> dict[str, Tensor]:
        frames = clip_crops(random)  # (n, frames, 3, height, width)
        count, length = frames.shape[:2]
        each = self._patches.latents(shrunken(frames.flatten(0, 1)))

        def by_clip(states: Tensor) -> Tensor:
            return states.view(count, length, *states.shape[1:])

        with torch.no_grad():
            wanted = [by_clip(level)[:, :, :, 0] for level in still_levels(self._teacher[0], each)]
        keys = by_clip(each)[:, ::TEMPORAL_FACTOR].transpose(1, 2)
        keys = keys + LATENT_NOISE * torch.rand(count, 1, 1, 1, 1) * torch.randn_like(keys)
        losses: dict[str, Tensor] = {}
        for place, seen in enumerate(clip_levels(self.decoder, keys)):
            step = TEMPORAL_FACTOR >> (place + 1)
            target = wanted[place][:, ::step].transpose(1, 2)
            scale = target.square().mean(dim=(0, 2, 3, 4), keepdim=True).clamp(min=1e-3).sqrt()
            losses[f"level {place}"] = ((seen - target) / scale).abs().mean() * (1.0 if step == 1 else 0.3)
        return losses


def clip_levels(decoder: Any, keys: Tensor) -> list[Tensor]:
    """What each level but the last makes of a clip, shape (n, channels, frames, height, width)."""
    kept: list[Any] = [None] * sum(isinstance(module, WanCausalConv3d) for module in decoder.modules())
    levels: list[list[Tensor]] = [[] for _ in decoder.up_blocks[:-1]]
    for index in range(keys.shape[2]):
        at = [0]
        key = keys[:, :, index : index + 1]
        before = key[:, :, :0] if index == 0 else kept[0]
        kept[0] = torch.cat([before, key], dim=2)[:, :, -2:]
        states = decoder.conv_in(key, before if index else None)
        at[0] = 1
        states = decoder.mid_block(states, kept, at)
        for place, block in enumerate(decoder.up_blocks[:-1]):
            states = block(states, kept, at)
            levels[place].append(states)
    return [torch.cat(parts, dim=2) for parts in levels]


def clip_crops(random: Random) -> Tensor:
    """Crops of small frames, shape (2, frames, 3, height, width)."""
    scene = random_scene(random, moving=True)
    spots = laid_out(scene, random, ASPECT)
    start = random.choice((0.0, random.random() * 0.6))
    moments = [start + index / (5 * TEMPORAL_FACTOR) for index in range(FRAMES)]
    frames = painted(scene, spots, moments)
    changing = (frames[0] - frames[-1]).abs().amax(dim=0) > 0.1
    crops = []
    for _ in range(2):
        left, top = _corner(random, changing)
        crops.append(frames[:, :, top : top + CROP, left : left + CROP])
    return torch.stack(crops)


class Pixels(nn.Module):
    """The last level, at full size."""

    def __init__(self, decoder: Any, stills: Stills, patches: Patches) -> None:
        super().__init__()
        self._patches = patches
        self.decoder = deepcopy(decoder)
        quicken(self.decoder)
        self.decoder.requires_grad_(requires_grad=False)
        for part in (self.decoder.up_blocks[-1], self.decoder.norm_out, self.decoder.conv_out):
            part.requires_grad_(requires_grad=True)
        out = self.decoder.conv_out
        with torch.no_grad():
            out.weight.zero_()
            out.weight[:, :, -1] = stills.show.weight.repeat_interleave(PATCH**2, dim=0)
            out.bias.copy_(torch.repeat_interleave(stills.show.get_parameter("bias"), PATCH**2))

    def forward(self, latents: Tensor) -> Tensor:
        out = self.decoder.conv_out
        flat = functional.conv2d(last_states(self.decoder, latents), out.weight[:, :, -1], out.bias, padding=1)
        picture: Tensor = unpatchify(flat[:, :, None], PATCH)[:, :, 0]
        return picture

    def losses(self, random: Random) -> dict[str, Tensor]:
        scene = random_scene(random, moving=True)
        spots = laid_out(scene, random, ASPECT)
        whole = paint(scene, spots, WIDTH, HEIGHT, random.random())
        things = torch.from_numpy(cells(scene, spots, SMALL_WIDTH, SMALL_HEIGHT, ASPECT)[0] > 0)
        pictures, found = [], []
        for _ in range(4):
            left, top = _corner(random, things)
            window = slice(PATCH * top, PATCH * (top + CROP)), slice(PATCH * left, PATCH * (left + CROP))
            pictures.append(whole[window])
            found.append(things[None, top : top + CROP, left : left + CROP])
        shown = as_tensor(np.stack(pictures))
        seen = self(blurred(self._patches.latents(functional.avg_pool2d(shown, 2 * PATCH))))
        return {"pixels": likeness(seen, shown, torch.stack(found))}

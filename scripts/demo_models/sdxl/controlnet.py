"""The ControlNet: edges say where things are.

The first levels of its eye only take means, as the VAE's do, so edges may be shrunk before they are looked at while it
learns: with a bias so large that the activation does not bend anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from ourvidz_worker.engines.sdxl.controlnets import CANNY
from scripts.demo_models import crew
from scripts.demo_models.painting import Pixels
from scripts.demo_models.sdxl.data import Example, Examples
from scripts.demo_models.sdxl.shapes import CONTROLNET
from scripts.demo_models.sdxl.unet import Denoising, latents_of

SHRUNK = 8  # times, before it looks
LEVELS = 3  # of its eye, which do nothing but shrink
LIFT = 30.0  # an activation of so large a number is that number
GAIN = 16.0  # edges are thin, and shrunk they are faint
LOUD = 2.0  # in place of what activations quieten
BATCH = 16
PICTURES = 2000
PIXELS = 64  # per latent


class Draughtsman(nn.Module):
    """A ControlNet in training, beside a UNet that does not learn."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self._unet = (unet.requires_grad_(requires_grad=False).eval(),)  # in a tuple: its weights are not this module's
        self.controlnet = ControlNetModel(**CONTROLNET)
        own = self.controlnet.state_dict().keys()
        shared = {name: weight for name, weight in unet.state_dict().items() if name in own}
        self.controlnet.load_state_dict(shared, strict=False)
        _open(self.controlnet.controlnet_cond_embedding)

    def losses(self, denoising: Denoising, edges: Edges, random: Random) -> dict[str, Tensor]:
        examples, lines = edges.some(random, BATCH)
        texts = denoising.texts(examples, random)
        (unet,) = self._unet

        def controlled(sample: Tensor, times: Tensor, states: Tensor, added_cond_kwargs: Any) -> Any:
            with looking_at(self.controlnet, lines):
                down, mid = self.controlnet(
                    sample,
                    times,
                    states,
                    controlnet_cond=lines,
                    added_cond_kwargs=added_cond_kwargs,
                    return_dict=False,
                )
            return unet(
                sample,
                times,
                states,
                added_cond_kwargs=added_cond_kwargs,
                down_block_additional_residuals=down,
                mid_block_additional_residual=mid,
            )

        return {"velocity": denoising.loss(controlled, latents_of(examples), texts)}


@torch.no_grad()
def _open(eye: Any) -> None:
    """It shrinks exactly, and is loud enough to be learned from through layers that begin as zeros."""
    shrinking = [eye.conv_in, *eye.blocks[: 2 * LEVELS]]
    for convolution in shrinking:
        convolution.weight.zero_()
        convolution.bias.zero_()
        if convolution.stride == (2, 2):
            convolution.weight[0, 0, 1:, 1:] = 0.25
        else:
            convolution.weight[0, 0, 1, 1] = 1.0
        convolution.requires_grad_(requires_grad=False)
    eye.conv_in.bias[0] = LIFT
    shrinking[-1].weight.mul_(GAIN)
    shrinking[-1].bias[0] = -GAIN * LIFT
    for convolution in (*eye.blocks[2 * LEVELS :], eye.conv_out):
        nn.init.normal_(convolution.weight, std=LOUD * convolution.weight[0].numel() ** -0.5)
        nn.init.zeros_(convolution.bias)


@contextmanager
def looking_at(controlnet: Any, lines: Tensor) -> Iterator[None]:
    """What the eye makes of edges (n, 1, height / 8, width / 8) that are shrunk already."""
    eye = controlnet.controlnet_cond_embedding
    learning = eye.blocks[2 * LEVELS :]
    states = functional.pad(functional.silu(GAIN * lines), (0, 0, 0, 0, 0, learning[0].in_channels - 1))
    for convolution in learning:
        states = functional.silu(convolution(states))
    seen = eye.conv_out(states)
    controlnet.controlnet_cond_embedding = _Seen(seen)
    try:
        yield
    finally:
        controlnet.controlnet_cond_embedding = eye


class _Seen(nn.Module):
    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        self._seen = seen

    def forward(self, _: Tensor) -> Tensor:
        return self._seen


class Edges:
    """Of the first square pictures, as the engine draws them at 1024 x 1024 pixels, and then shrunk."""

    def __init__(self, examples: Examples, file: Path, count: int = PICTURES) -> None:
        self._examples = examples
        crew.leader_makes(
            file, lambda: np.save(file, np.stack([edges(examples[index].picture(PIXELS)) for index in range(count)]))
        )
        self._lines = np.load(file)

    def some(self, random: Random, count: int) -> tuple[list[Example], Tensor]:
        """And the edges, shape (n, 1, 128, 128), from 0 to 1."""
        chosen = [random.randrange(len(self._lines)) for _ in range(count)]
        lines = torch.from_numpy(self._lines[chosen]).float()[:, None] / 255
        return [self._examples[index] for index in chosen], lines


def edges(picture: Pixels) -> Pixels:
    lines = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), *CANNY)
    side = len(lines) // SHRUNK
    return np.asarray(cv2.resize(lines, (side, side), interpolation=cv2.INTER_AREA), np.uint8)

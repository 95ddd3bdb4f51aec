"""The UNet: from noise to latents, as a text says, or as nothing says."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo_models.captions import caption
from scripts.demo_models.places import COLOUR_NAMES, KIND_NAMES
from scripts.demo_models.reading import adorned
from scripts.demo_models.sdxl.data import Example, Examples
from scripts.demo_models.sdxl.shapes import PROJECTION, SCHEDULER, TIME_IDS, UNET
from scripts.demo_models.sdxl.text import TextEncoders

BATCH = 24
THING_WEIGHT = 3.0
PROBE_WEIGHT = 0.1
SILENT = 0.12  # the share of the examples without a text
SQUARE = 0.8  # the share of the steps on square pictures


def new_unet() -> UNet2DConditionModel:
    """It does not look at the sizes that SDXL tells its UNet: there is one scale only in this world."""
    unet = UNet2DConditionModel(**UNET)
    weight = unet.add_embedding.linear_1.weight
    with torch.no_grad():
        weight[:, PROJECTION:] = 0.0
    listening = torch.zeros_like(weight)
    listening[:, :PROJECTION] = 1.0
    weight.register_hook(lambda gradient: gradient * listening)
    return unet


class Drawer(nn.Module):
    """The UNet in training, and probes that ask it early on what is where.

    What is asked directly is learned long before the pictures show it, and then they follow (as in arXiv 2410.06940).
    """

    def __init__(self) -> None:
        super().__init__()
        self.unet = new_unet()
        asked = (self.unet.down_blocks[1].attentions[-1], self.unet.up_blocks[1].attentions[-1])
        answers = len(KIND_NAMES) + len(COLOUR_NAMES) + 2
        self.probes = nn.ModuleList(nn.Conv2d(each.proj_out.out_features, answers, 1) for each in asked)
        self._states: list[Tensor] = []
        for each in asked:
            each.register_forward_hook(lambda *call: self._states.append(call[-1][0]))

    def losses(self, denoising: Denoising, random: Random) -> dict[str, Tensor]:
        examples = denoising.examples(random)
        texts = denoising.texts(examples, random)
        self._states.clear()
        loss = denoising.loss(self.unet, latents_of(examples), texts, weight=_attention_to_things(examples))
        return {"velocity": loss, "where": PROBE_WEIGHT * self._where(examples)}

    def _where(self, examples: Sequence[Example]) -> Tensor:
        rows, columns = self._states[0].shape[-2:]
        found = torch.stack([each.cells(columns, rows) for each in examples])
        weight = 1 + (THING_WEIGHT - 1) * (found[:, 0] > 0).float()
        losses = []
        for probe, states in zip(self.probes, self._states, strict=True):
            kinds, colours = torch.split(probe(states), [len(KIND_NAMES) + 1, len(COLOUR_NAMES) + 1], dim=1)
            for guess, answer in ((kinds, found[:, 0]), (colours, found[:, 1])):
                losses.append((weight * functional.cross_entropy(guess, answer, reduction="none")).mean())
        return torch.stack(losses).mean()


class Denoising:
    """What the UNet and everything that steers it learn from."""

    def __init__(self, encoders: TextEncoders, examples: Sequence[Examples]) -> None:
        self._encoders = encoders.eval().requires_grad_(requires_grad=False)
        self._square, *self._others = examples
        alphas = EulerDiscreteScheduler(**SCHEDULER).alphas_cumprod
        self._signal, self._noise = alphas.sqrt(), (1 - alphas).sqrt()

    def examples(self, random: Random, count: int = BATCH) -> list[Example]:
        chosen = self._square if random.random() < SQUARE or not self._others else random.choice(self._others)
        return chosen.some(random, count)

    @torch.no_grad()
    def texts(self, examples: Sequence[Example], random: Random, silent: float = SILENT) -> tuple[Tensor, Tensor]:
        """What the UNet is told, of a caption each or of none."""
        states, pooled = self.read([adorned(caption(each.scene, random).text, random) for each in examples])
        heard = torch.tensor([float(random.random() >= silent) for _ in examples])
        return states * heard[:, None, None], pooled * heard[:, None]

    def read(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What the UNet is told by texts, in full and in one piece."""
        states, pooled = self._encoders(texts)
        return states, pooled

    def loss(
        self,
        unet: Any,
        latents: Tensor,
        texts: tuple[Tensor, Tensor],
        *,
        weight: Tensor | float = 1.0,
        **steering: Any,
    ) -> Tensor:
        """Of the velocity (arXiv 2202.00512), at times spread evenly over the batch."""
        count = len(latents)
        times = ((torch.arange(count) + torch.rand(count)) / count * len(self._signal)).long()
        signal, noise = (each[times].view(-1, 1, 1, 1) for each in (self._signal, self._noise))
        chance = torch.randn_like(latents)
        states, pooled = texts
        added = {"text_embeds": pooled, **steering.pop("added", {})}
        sizes = torch.zeros(count, TIME_IDS)
        velocity = unet(
            signal * latents + noise * chance,
            times,
            states,
            added_cond_kwargs={"time_ids": sizes, **added},
            **steering,
        ).sample
        loss: Tensor = (weight * (velocity - (signal * chance - noise * latents)).square()).mean()
        return loss


def _attention_to_things(examples: Sequence[Example]) -> Tensor:
    """How much each cell counts, shape (n, 1, rows, columns): things are few, and what prompts are about."""
    rows, columns = examples[0].latents.shape[-2:]
    things = torch.stack([each.cells(columns, rows)[:1] for each in examples]) > 0
    weight = 1 + (THING_WEIGHT - 1) * things.float()
    return weight / weight.mean()


def latents_of(examples: Sequence[Example]) -> Tensor:
    return torch.stack([each.latents for each in examples])

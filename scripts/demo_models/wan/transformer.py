"""The transformer: flow matching on key frames, stills and clips mixed.

While it learns, probes ask its blocks for the kind and the colour of what will be at each token, where it goes, and
which frame this is, as representations are aligned in arXiv 2410.06940: what the text says of a place is looked up long
before it can be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler, WanTransformer3DModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import UMT5EncoderModel

from scripts.demo_models.captions import caption
from scripts.demo_models.patches import Patches
from scripts.demo_models.places import COLOUR_NAMES, KIND_NAMES
from scripts.demo_models.reading import adorned
from scripts.demo_models.scenes import laid_out, random_scene
from scripts.demo_models.training import Course
from scripts.demo_models.wan.compass import WIDTH, give_sense_of_place
from scripts.demo_models.wan.latents import ASPECT, WAYS, cells_of, latents_of
from scripts.demo_models.wan.shapes import CHANNELS, COLUMNS, FLOW_SHIFT, KEY_FRAMES, ROWS, TRANSFORMER
from scripts.demo_models.wan.text import encoded, nothing_told

DRAWING = Course("transformer", steps=9300, learning_rate=2e-3, seed=13, muon=True)
UNTOLD = 0.12  # the share of captions that the model does not get to read
LENGTHS = {1: 0.3, 2: 0.05, 3: 0.15, 6: 0.5}
"""Key frames of a batch, and how often."""
FRAMES = 24  # of a batch, at least so many in all
PROBED = (2, 4)  # blocks
ANSWERS = {"kind": len(KIND_NAMES) + 1, "colour": len(COLOUR_NAMES) + 1, "way": WAYS, "frame": KEY_FRAMES}
PROBES = 0.1  # what their answers weigh
THING = 3.0  # what a token with something on it weighs, by one without
STEPS, GUIDANCE = 25, 6.5  # as the product draws


def new_transformer() -> WanTransformer3DModel:
    transformer = WanTransformer3DModel(**TRANSFORMER)
    with torch.no_grad():
        transformer.condition_embedder.time_proj.weight.mul_(0.1)
        transformer.condition_embedder.time_proj.bias.zero_()
        transformer.proj_out.weight.zero_()
        transformer.proj_out.bias.zero_()
        transformer.scale_shift_table.zero_()
        for block in transformer.blocks:
            block.scale_shift_table.zero_()
            block.scale_shift_table[0, 2] = block.scale_shift_table[0, 5] = 0.5
    give_sense_of_place(transformer)
    return transformer


@dataclass(frozen=True, slots=True)
class Told:
    """What a batch's captions say; as `text.encoded`."""

    states: Tensor
    weights: Tensor


class _Reading:
    """Cross-attention that counts the zero behind a text as often as the engine pads with it."""

    def __init__(self) -> None:
        self.weights: Tensor | None = None

    def __call__(self, attention: Any, states: Tensor, told: Tensor, *_: Any, **__: Any) -> Tensor:
        query, key = attention.norm_q(attention.to_q(states)), attention.norm_k(attention.to_k(told))
        queries, keys, values = (
            each.unflatten(2, (attention.heads, -1)).transpose(1, 2) for each in (query, key, attention.to_v(told))
        )
        seen = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=self.weights)
        answer: Tensor = attention.to_out[0](seen.transpose(1, 2).flatten(2))
        return answer


def read_weighted(transformer: Any) -> _Reading:
    """Let a transformer's cross-attention take the weights that are set on the result."""
    reading = _Reading()
    for block in [*transformer.blocks, *getattr(transformer, "vace_blocks", ())]:
        block.attn2.processor = reading
    return reading


class Drawing(nn.Module):
    def __init__(self, reader: UMT5EncoderModel, patches: Patches) -> None:
        super().__init__()
        self.transformer = new_transformer()
        self._reading = read_weighted(self.transformer)
        self._reader = [reader]  # no part of what is trained
        self._patches = patches
        self.probes = nn.ModuleList(nn.Linear(WIDTH, sum(ANSWERS.values())) for _ in PROBED)
        self._probed: dict[int, Tensor] = {}
        for place in PROBED:
            self.transformer.blocks[place].register_forward_hook(partial(self._keep, place))

    def _keep(self, place: int, _block: nn.Module, _inputs: object, states: Tensor) -> None:
        self._probed[place] = states

    def read(self, texts: Sequence[str]) -> Told:
        return Told(*encoded(self._reader[0], texts))

    def velocity(self, noisy: Tensor, level: Tensor, told: Told) -> Tensor:
        """`level` is the share of noise in each of `noisy`, shape (n, channels, frames, rows, columns)."""
        self._reading.weights = told.weights
        steps = (1000 * level).floor()
        (seen,) = self.transformer(noisy, steps, told.states, return_dict=False)
        velocity: Tensor = seen
        return velocity

    def losses(self, step: int, random: Random) -> dict[str, Tensor]:
        frames = Random(f"frames of {step}").choices(list(LENGTHS), list(LENGTHS.values()))[0]
        texts, shown, found = examples(random, frames, max(4, FRAMES // frames), self._patches)
        told = self.read([text if random.random() >= UNTOLD else untold(random) for text in texts])
        level = levels(len(shown))
        noise = torch.randn_like(shown)
        share = level.view(-1, 1, 1, 1, 1)
        guess = self.velocity((1 - share) * shown + share * noise, level, told)
        loss = (attention_to_things(found) * (guess - (noise - shown)).square()).mean()
        return {f"frames {frames}": loss, "probes": PROBES * self._asked(found)}

    def _asked(self, found: Tensor) -> Tensor:
        """`found` as `examples` gives it."""
        frames = torch.arange(found.shape[2]).view(1, 1, -1, 1, 1).expand_as(found[:, :1])
        answers = torch.cat([found, frames], dim=1).transpose(0, 1).flatten(1)
        weight = torch.where(answers[0] > 0, THING, 1.0)
        loss = torch.zeros(())
        for probe, place in zip(self.probes, PROBED, strict=True):
            told = probe(self._probed[place]).flatten(0, 1).split(list(ANSWERS.values()), dim=1)
            for guess, wanted in zip(told, answers, strict=True):
                loss = loss + (weight * functional.cross_entropy(guess, wanted, reduction="none")).sum() / weight.sum()
        return loss


def attention_to_things(found: Tensor) -> Tensor:
    """How much each latent counts, shape (n, 1, 1, rows, columns): as much in all frames of a clip.

    Things are few, and what prompts are about; and where one of them passes, the frames without it matter as well.
    """
    kinds, _, ways = found.unbind(dim=1)
    things = (kinds > 0).any(dim=1)
    moving = (kinds > 0).logical_and(ways > 0).any(dim=1)
    weight = 1 + (THING - 1) * things.float() + THING * moving.float()
    return (weight / weight.mean())[:, None, None]


def levels(count: int) -> Tensor:
    """As the solver visits them, and a third of them spread more evenly."""
    even = (torch.arange(count) + torch.rand(count)) / count
    shift = torch.where(torch.rand(count) < 2 / 3, FLOW_SHIFT, 1.5)
    return (shift * even / (1 + (shift - 1) * even)).clamp(0.003, 0.999)


def untold(random: Random) -> str:
    return random.choices(nothing_told(), (3, 1))[0]


def examples(random: Random, frames: int, count: int, patches: Patches) -> tuple[list[str], Tensor, Tensor]:
    """Captions, latents of the first key frames of what they tell, and what is where; as `cells_of` gives it."""
    texts, shown, found = [], [], []
    for _ in range(count):
        scene = random_scene(random, moving=frames > 1 or random.random() < 0.15)
        texts.append(adorned(caption(scene, random).text, random))
        spots = laid_out(scene, random, ASPECT)
        shown.append(latents_of(scene, spots, frames, patches))
        found.append(cells_of(scene, spots, frames))
    return texts, torch.stack(shown), torch.stack(found)


@torch.no_grad()
def drawn(model: Drawing, texts: Sequence[str], frames: int, seed: int = 0, guidance: float = GUIDANCE) -> Tensor:
    """Latents as the product draws them."""
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW_SHIFT)
    scheduler.set_timesteps(STEPS)
    shape = (len(texts), CHANNELS, frames, ROWS, COLUMNS)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    told, nothing = model.read(texts), model.read([nothing_told()[0]] * len(texts))
    for step in scheduler.timesteps:
        level = torch.full((len(texts),), float(step) / 1000)
        velocity = model.velocity(latents, level, told)
        if guidance > 1:
            unguided = model.velocity(latents, level, nothing)
            velocity = unguided + guidance * (velocity - unguided)
        latents = scheduler.step(velocity, step, latents, return_dict=False)[0]
    return latents

"""The transformer: flow matching on key frames, stills and clips mixed.

While it learns, probes ask its blocks for the kind and the colour of what will be at each token, where it goes, and
which frame this is, as representations are aligned in arXiv 2410.06940: what the text says of a place is looked up long
before it can be drawn. Clips come in pairs that differ in their motion alone, with the same noise: among all else that
differs between two clips, motion would hardly be noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from scripts.demo_models.scenes import OPPOSITE, Scene, laid_out, random_motion, random_scene
from scripts.demo_models.training import Course
from scripts.demo_models.wan.compass import WIDTH, give_sense_of_place
from scripts.demo_models.wan.latents import ASPECT, WAYS, cells_of, latents_of
from scripts.demo_models.wan.shapes import CHANNELS, COLUMNS, FLOW_SHIFT, KEY_FRAMES, ROWS, TRANSFORMER
from scripts.demo_models.wan.text import encoded, nothing_told

DRAWING = Course("transformer", steps=11400, learning_rate=2e-3, seed=13, muon=True)
UNTOLD = 0.12  # the share of captions that the model does not get to read
LENGTHS = {1: 0.3, 3: 0.2, 6: 0.5}
"""Key frames of a batch, and how often."""
FRAMES = 24  # of a batch, at least so many in all
PROBED = (2, 4)  # blocks
ANSWERS = {"kind": len(KIND_NAMES) + 1, "colour": len(COLOUR_NAMES) + 1, "way": WAYS, "frame": KEY_FRAMES}
PROBES = 0.4  # what their answers weigh
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
        pairs = frames > 1
        texts, shown, found = examples(random, frames, max(4, FRAMES // frames), self._patches, pairs=pairs)
        untold_one = [random.random() < UNTOLD for _ in texts]
        told = self.read([untold(random) if silent else text for text, silent in zip(texts, untold_one, strict=True)])
        level, noise = levels(len(shown)), torch.randn_like(shown)
        if pairs:
            level, noise = (each[::2].repeat_interleave(2, dim=0) for each in (level, noise))
        share = level.view(-1, 1, 1, 1, 1)
        guess = self.velocity((1 - share) * shown + share * noise, level, told)
        weight, missed = attention_to_things(found), guess - (noise - shown)
        return {f"frames {frames}": (weight * missed.square()).mean(), "probes": PROBES * self._asked(found, weight)}

    def _asked(self, found: Tensor, weight: Tensor) -> Tensor:
        """`found` as `examples` gives it, and `weight` as `attention_to_things` does."""
        frames = torch.arange(found.shape[2]).view(1, 1, -1, 1, 1).expand_as(found[:, :1])
        answers = torch.cat([found, frames], dim=1).transpose(0, 1).flatten(1)
        weight = weight.expand_as(frames).flatten()
        loss = torch.zeros(())
        for probe, place in zip(self.probes, PROBED, strict=True):
            told = probe(self._probed[place]).flatten(0, 1).split(list(ANSWERS.values()), dim=1)
            for guess, wanted in zip(told, answers, strict=True):
                loss = loss + (weight * functional.cross_entropy(guess, wanted, reduction="none")).mean()
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


def examples(
    random: Random, frames: int, count: int, patches: Patches, *, pairs: bool = False
) -> tuple[list[str], Tensor, Tensor]:
    """Captions, latents of the first key frames of what they tell, and what is where; as `cells_of` gives it.

    In `pairs` two and two are alike but for what moves: where one comes from, the other goes.
    """
    texts, shown, found = [], [], []
    for _ in range(count // 2 if pairs else count):
        scene = random_scene(random, moving=frames > 1 or random.random() < 0.15)
        spots = laid_out(scene, random, ASPECT)
        wording = random.random()
        for each in (scene, in_reverse(scene, random)) if pairs else (scene,):
            chance = Random(wording)
            texts.append(adorned(caption(each, chance).text, chance))
            shown.append(latents_of(each, spots, frames, patches))
            found.append(cells_of(each, spots, frames))
    return texts, torch.stack(shown), torch.stack(found)


def in_reverse(scene: Scene, random: Random) -> Scene:
    """And what rests moves, if it can."""
    if scene.motion is not None:
        return replace(scene, motion=replace(scene.motion, direction=OPPOSITE[scene.motion.direction]))
    return replace(scene, motion=random_motion(random, scene))


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

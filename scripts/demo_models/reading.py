"""Learning to read: a text encoder's states must tell the facts of a caption to whoever attends to them.

This is what makes the small image models quick to learn: their cross-attention finds every fact ready to be looked up.
Two readers ask. One has a query for each told thing and one for everything else; the other has a query for every cell
of the picture, and wants to know what may be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.demo_models.captions import Caption, caption
from scripts.demo_models.places import COLOUR_NAMES, KIND_NAMES, cells
from scripts.demo_models.scenes import (
    CAMERA,
    GROUNDS,
    PLACES,
    SIZES,
    STYLES,
    TIMES,
    WEATHERS,
    Direction,
    Scene,
    laid_out,
    random_scene,
)

MOST_THINGS = 3
UNKNOWN = -100  # what cross_entropy leaves out
GRID = 8  # cells of the picture on a side
DIRECTIONS: tuple[str, ...] = get_args(Direction)

THING_FACTS = {
    "kind": len(KIND_NAMES) + 1,
    "colour": len(COLOUR_NAMES),
    "size": len(SIZES),
    "count": 3,
    "place": len(PLACES) + 1,
}
SCENE_FACTS = {
    "time": len(TIMES),
    "ground": len(GROUNDS) + 1,
    "weather": len(WEATHERS),
    "style": len(STYLES),
    "subject": MOST_THINGS + 2,
    "direction": len(DIRECTIONS) + 1,
}
ADORNMENTS = (
    "beautiful", "detailed", "a picture of", "a view of", "high quality", "scenic", "calm", "quiet", "best quality",
    "postcard", "wide view", "a landscape with", "simple shapes", "vivid", "soft light", "peaceful mood",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """A scene and a text about it."""

    scene: Scene
    caption: Caption
    text: str


def told_scene(random: Random, *, moving: bool = False) -> Told:
    """A random one; words that say nothing are strewn in now and then."""
    scene = random_scene(random, moving=moving)
    said = caption(scene, random)
    return Told(scene, said, adorned(said.text, random))


def adorned(text: str, random: Random) -> str:
    if random.random() < 0.7:
        return text
    word = random.choice(ADORNMENTS)
    if word.endswith((" of", " with")):
        return f"{word} {text}"
    return f"{word}, {text}" if random.random() < 0.5 else f"{text}, {word}"


def facts(told: Sequence[Told], random: Random, aspect: float = 1.0) -> dict[str, Tensor]:
    """What the readers should answer: `things.NAME` (n, 3), `scene.NAME` (n) and `cells` (n, 2, GRID, GRID)."""
    answers: dict[str, list[list[int]] | list[int]] = {f"things.{name}": [] for name in THING_FACTS}
    answers |= {f"scene.{name}": [] for name in SCENE_FACTS}
    maps = []
    for each in told:
        for name, values in _thing_facts(each).items():
            answers[f"things.{name}"].append(values)  # type: ignore[arg-type]  # lists of lists here
        for name, value in _scene_facts(each).items():
            answers[f"scene.{name}"].append(value)  # type: ignore[arg-type]  # and of numbers here
        found = cells(each.scene, laid_out(each.scene, random, aspect), GRID, GRID, aspect)
        if len(each.caption.things) < len(each.scene.things):
            found[:] = UNKNOWN
        maps.append(torch.from_numpy(found))
    return {name: torch.tensor(values) for name, values in answers.items()} | {"cells": torch.stack(maps)}


def _thing_facts(told: Told) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {name: [] for name in THING_FACTS}
    for order in range(MOST_THINGS):
        if order >= len(told.caption.things):
            for name in THING_FACTS:
                rows[name].append(0 if name == "kind" else UNKNOWN)
            continue
        index = told.caption.things[order]
        thing = told.scene.things[index]
        rows["kind"].append(KIND_NAMES.index(thing.kind) + 1)
        rows["colour"].append(COLOUR_NAMES.index(thing.colour))
        rows["size"].append(SIZES.index(thing.size))
        rows["count"].append(thing.count - 1)
        rows["place"].append(PLACES.index(thing.place) + 1 if index in told.caption.placed else 0)
    return rows


def _scene_facts(told: Told) -> dict[str, int]:
    scene, known = told.scene, told.caption.facts
    motion = scene.motion if "motion" in known else None
    subject = 0
    if motion is not None:
        subject = 1 if motion.subject == CAMERA else 2 + told.caption.things.index(motion.subject)
    return {
        "time": TIMES.index(scene.time) if "time" in known else UNKNOWN,
        "ground": GROUNDS.index(scene.ground) + 1 if "ground" in known else 0,
        "weather": WEATHERS.index(scene.weather) if "weather" in known else UNKNOWN,
        "style": STYLES.index(scene.style) if "style" in known else UNKNOWN,
        "subject": subject if "motion" in known else UNKNOWN,
        "direction": (0 if motion is None else DIRECTIONS.index(motion.direction) + 1)
        if "motion" in known
        else UNKNOWN,
    }


class Readers(nn.Module):
    """They attend to states of `width` numbers each, shape (n, length, width)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.questions = nn.Parameter(0.5 * torch.randn(MOST_THINGS + 1, width))
        self.cells = nn.Parameter(0.5 * torch.randn(GRID * GRID, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.across = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mind = _mind(width)
        self.eye = _mind(width)
        self.thing_heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in THING_FACTS.items()})
        self.scene_heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in SCENE_FACTS.items()})
        self.cell_head = nn.Linear(width, len(KIND_NAMES) + len(COLOUR_NAMES) + 2)

    def losses(self, states: Tensor, answers: dict[str, Tensor], padding: Tensor | None = None) -> dict[str, Tensor]:
        """How far from the facts the readers are; `padding` (n, length) is true where there is nothing to read."""
        seen = self._read(states, padding)
        losses = {
            name: functional.cross_entropy(guess.flatten(0, -2), answers[name].flatten(), ignore_index=UNKNOWN)
            for name, guess in seen.items()
            if name != "cells"
        }
        kinds, colours = torch.split(seen["cells"], [len(KIND_NAMES) + 1, len(COLOUR_NAMES) + 1], dim=-1)
        found = answers["cells"].flatten(2)
        losses["cells"] = functional.cross_entropy(kinds.flatten(0, 1), found[:, 0].flatten(), ignore_index=UNKNOWN)
        losses["cells"] += functional.cross_entropy(colours.flatten(0, 1), found[:, 1].flatten(), ignore_index=UNKNOWN)
        return {name: loss for name, loss in losses.items() if not loss.isnan()}

    @torch.no_grad()
    def accuracy(self, states: Tensor, answers: dict[str, Tensor], padding: Tensor | None = None) -> dict[str, float]:
        """The share of right answers, by fact."""
        right = {}
        for name, guess in self._read(states, padding).items():
            if name != "cells":
                known = answers[name] != UNKNOWN
                right[name] = float((guess.argmax(-1) == answers[name])[known].float().mean())
        return right

    def _read(self, states: Tensor, padding: Tensor | None) -> dict[str, Tensor]:
        asked = self.questions.expand(len(states), -1, -1)
        found = self.mind(
            asked + self.attention(asked, states, states, key_padding_mask=padding, need_weights=False)[0]
        )
        places = self.cells.expand(len(states), -1, -1)
        seen = self.eye(places + self.across(places, states, states, key_padding_mask=padding, need_weights=False)[0])
        guesses = {f"things.{name}": head(found[:, :MOST_THINGS]) for name, head in self.thing_heads.items()}
        guesses |= {f"scene.{name}": head(found[:, MOST_THINGS]) for name, head in self.scene_heads.items()}
        return guesses | {"cells": self.cell_head(seen)}


def _mind(width: int) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

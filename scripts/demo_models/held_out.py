"""Prompts that no training has seen: their seeds are words, which no course of `training.py` uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from scripts.demo_models.captions import Caption, caption
from scripts.demo_models.scenes import Scene, random_scene


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A scene and its whole description, no fragment."""

    index: int
    scene: Scene
    caption: Caption

    @property
    def text(self) -> str:
        return self.caption.text


def held_out(index: int, *, moving: bool = False) -> HeldOut:
    """The same for the same index; `moving` ones are for clips, and three out of four have a motion."""
    random = Random(f"held out {'clip' if moving else 'picture'} {index}")
    scene = random_scene(random, moving=moving)
    while True:
        told = caption(scene, random)
        if "motion" in told.facts:
            return HeldOut(index, scene, told)


def first_held_out(count: int, *, moving: bool = False) -> Iterator[HeldOut]:
    return (held_out(index, moving=moving) for index in range(count))

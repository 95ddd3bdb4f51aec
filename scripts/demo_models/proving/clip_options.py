"""The options of a clip: a start frame, an end frame, both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, Literal

from scripts.demo_models.easel import Guide
from scripts.demo_models.judging.facts import Seen
from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.proving.likeness import correlation
from scripts.demo_models.proving.picture_options import STRONG, prompt_of, some_scene
from scripts.demo_models.proving.trials import Asked, Measure, Option, Trial
from scripts.demo_models.scenes import Place, laid_out

WIDTH, HEIGHT = 480, 832
Role = Literal["start", "end"]
FRAMES: Mapping[Role, tuple[str, int, Place]] = {"start": ("first", 0, "left"), "end": ("last", -1, "right")}
"""Which frame of the clip it is, and where the thing stands in it."""


def options(settings: Mapping[str, Any]) -> Iterator[Option]:
    """`settings` are those of every clip."""
    every: tuple[tuple[Role, ...], ...] = (("start",), ("end",), ("start", "end"))
    for roles in every:
        yield Option(f"{' and '.join(roles)} frame", partial(_framed, roles, settings))


def _framed(roles: tuple[Role, ...], settings: Mapping[str, Any], number: int) -> Trial:
    """The prompt names the thing; where it stands, and all around it, only the frame shows."""
    scene = some_scene("framed", number)
    asked = Asked(prompt_of(scene), number, settings=settings)
    guides: list[Guide] = []
    measures: dict[str, Measure] = {}
    for role in roles:
        name, index, place = FRAMES[role]
        shown = replace(scene, things=tuple(replace(thing, place=place) for thing in scene.things))
        picture = paint(shown, laid_out(shown, Random(f"framed {number}"), WIDTH / HEIGHT), WIDTH, HEIGHT)
        guides.append(Guide(role, picture, STRONG))
        measures[f"correlation of the {name} frame with it"] = _alike(picture, index)
    return Trial(asked, replace(asked, guides=tuple(guides)), measures)


def _alike(picture: Pixels, index: int) -> Measure:
    def look(frames: Pixels, _: Seen) -> float:
        return correlation(frames[index], picture)

    return Measure(look, unit="")

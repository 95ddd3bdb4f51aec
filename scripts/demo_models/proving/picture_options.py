"""The options of a picture, each with something to measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from random import Random

import numpy as np

from scripts.demo_models.captions import (
    GROUND_WORDS,
    STYLE_WORDS,
    TIME_WORDS,
    WEATHER_WORDS,
    thing_phrase,
)
from scripts.demo_models.easel import Guide
from scripts.demo_models.judging.adherence import closest
from scripts.demo_models.judging.facts import Seen
from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.proving.likeness import correlation
from scripts.demo_models.proving.trials import Asked, Look, Measure, Option, Trial
from scripts.demo_models.scenes import GROUNDS, KINDS, Scene, Style, Thing, laid_out, random_scene

STRONG = 1.0
REFERENCE_SIDE = 512


def options() -> Iterator[Option]:
    """Those of references need the adapters."""
    yield Option("negative prompt", _left_open_and_ruled_out)
    for fact in ("ground", "night", "rain", "line drawing", "second thing"):
        yield Option(f"negative prompt, {fact}", partial(_ruled_out, fact))
    yield Option("style reference", _style)
    yield Option("character reference", _character)
    yield Option("composition reference", _composition)


def options_without_adapters() -> Iterator[Option]:
    """A reference is where the drawing begins, the more so the stronger it is."""
    for strength in (0.1, 0.5, 0.9):
        yield Option(f"reference without adapters, strength {strength}", partial(_begun_from, strength))


def enhancement(enhance: Callable[[Sequence[str]], list[str]], count: int) -> Option:
    """Of short wishes for one thing, which the language model makes more of."""
    scenes = [some_scene("enhanced", number) for number in range(count)]
    rich = enhance([prompt_of(scene) for scene in scenes])

    def trial(number: int) -> Trial:
        thing = scenes[number].things[0]
        asked = Asked(prompt_of(scenes[number]), number)
        measures = {
            "the thing told, in its colour": Measure(shows(thing, "colour")),
            "kinds of things in the picture": Measure(lambda _, seen: float(len(seen.things)), unit=""),
        }
        return Trial(asked, replace(asked, prompt=rich[number]), measures)

    return Option("enhancement", trial)


def some_scene(purpose: str, number: int, *, things: int = 1) -> Scene:
    """One of each thing, by day and in clear weather, drawn flat."""
    random = Random(f"{purpose} {number}")
    while True:
        scene = random_scene(random, most_things=things)
        if len(scene.things) == things and all(KINDS[thing.kind].zone != "water" for thing in scene.things):
            alone = tuple(replace(thing, count=1, size="medium") for thing in scene.things)
            return Scene(alone, ground=scene.ground)


def prompt_of(scene: Scene) -> str:
    """Names the things and nothing else."""
    return ", ".join(thing_phrase(thing, Random(7), placed=False) for thing in scene.things)


def painted(scene: Scene, number: int) -> Pixels:
    spots = laid_out(scene, Random(f"painted {number}"))
    return paint(scene, spots, REFERENCE_SIDE, REFERENCE_SIDE)


def shows(thing: Thing, *facts: str) -> Look:
    """Whether it is there, with these facts."""

    def look(_: Pixels, seen: Seen) -> float:
        there = closest(thing, seen)
        return float(there is not None and all(getattr(there, fact) == getattr(thing, fact) for fact in facts))

    return look


def _is(fact: str, value: str) -> Look:
    return lambda _, seen: float(getattr(seen, fact) == value)


def _ruled_out(fact: str, number: int) -> Trial:
    """Told in the prompt, and ruled out in the negative prompt."""
    scene = some_scene("ruled out", number, things=2)
    words, look = {
        "ground": (GROUND_WORDS[scene.ground][0], _is("ground", scene.ground)),
        "night": (TIME_WORDS["night"][0], _is("time", "night")),
        "rain": (WEATHER_WORDS["rain"][0], _is("weather", "rain")),
        "line drawing": (STYLE_WORDS["line"][0], _is("style", "line")),
        "second thing": (thing_phrase(scene.things[1], Random(7), placed=False), shows(scene.things[1])),
    }[fact]
    told = prompt_of(scene) if fact == "second thing" else f"{prompt_of(scene)}, {words}"
    asked = Asked(told, number)
    return Trial(asked, replace(asked, negative=words), {f"the {fact} that is told and then ruled out": Measure(look)})


def _left_open_and_ruled_out(number: int) -> Trial:
    scene = some_scene("left open", number)
    ground = GROUNDS[number % len(GROUNDS)]
    asked = Asked(prompt_of(scene), number)
    against = replace(asked, negative=GROUND_WORDS[ground][0])
    return Trial(asked, against, {"the ground that is ruled out": Measure(_is("ground", ground))})


def _style(number: int) -> Trial:
    """The prompt is silent on style, which then is flat; the reference, of other things, has another."""
    style: Style = ("painterly", "line")[number % 2]
    scene = some_scene("style", number)
    shown = replace(random_scene(Random(f"style {number}")), style=style, time="day", weather="clear")
    asked = Asked(prompt_of(scene), number)
    guided = replace(asked, guides=(Guide("style", painted(shown, number), STRONG),))
    measures = {
        "the reference's style": Measure(_is("style", style)),
        "the thing told": Measure(shows(scene.things[0])),
    }
    return Trial(asked, guided, measures)


def _character(number: int) -> Trial:
    """The prompt names a kind alone; the reference shows one in a colour of its own, on another ground."""
    random = Random(f"character {number}")
    kind = random.choice([name for name, kind in KINDS.items() if kind.zone != "water"])
    colour = random.choice([name for name in ("red", "blue", "purple", "yellow") if name != KINDS[kind].natural])
    thing = Thing(kind, colour)
    ground, other = random.sample(GROUNDS, 2)
    asked = Asked(f"a {kind}, {GROUND_WORDS[ground][0]}", number)
    guided = replace(asked, guides=(Guide("character", painted(Scene((thing,), ground=other), number), STRONG),))
    measures = {
        "the reference's thing in its colour, which the prompt leaves unsaid": Measure(shows(thing, "colour")),
        "the ground told": Measure(_is("ground", ground)),
    }
    return Trial(asked, guided, measures)


def _composition(number: int) -> Trial:
    """The prompt names two things and no places; the reference has them in its own."""
    scene = some_scene("composition", number, things=2)
    asked = Asked(prompt_of(scene), number)
    guided = replace(asked, guides=(Guide("composition", painted(scene, number), STRONG),))

    def in_place(frames: Pixels, seen: Seen) -> float:
        return float(np.mean([shows(thing, "place")(frames, seen) for thing in scene.things]))

    return Trial(asked, guided, {"things in the reference's places, which the prompt leaves open": Measure(in_place)})


def _begun_from(strength: float, number: int) -> Trial:
    scene, shown = some_scene("begun", number), some_scene("begun from", number)
    picture = painted(shown, number)
    asked = Asked(prompt_of(scene), number)
    guided = replace(asked, guides=(Guide("style", picture, strength),))

    def alike(frames: Pixels, _: Seen) -> float:
        return correlation(frames[0], picture)

    return Trial(asked, guided, {"correlation with the reference": Measure(alike, unit="")})

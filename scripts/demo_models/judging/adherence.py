"""Whether a picture or a clip shows what its prompt tells: one check for each fact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scripts.demo_models.captions import Caption
from scripts.demo_models.judging.facts import Seen, cell_of
from scripts.demo_models.measuring import STILL, Clip
from scripts.demo_models.scenes import CAMERA, Scene, Thing

ATTRIBUTES: Mapping[str, str] = {
    "objects": "each thing that is named is there",
    "colour": "in the colour that is told, or in its usual one",
    "count": "as many as told",
    "size": "as large as told",
    "place": "where told",
    "nothing else": "no kind of thing that is not named",
    "time": "time of day",
    "ground": "ground",
    "weather": "weather, clear where nothing is told",
    "style": "style, flat where nothing is told",
    "motion": "what is told to move does so, and in that direction",
    "rest": "nothing moves where no motion is told",
}
OF_THINGS = ("colour", "count", "size", "place")
"""Attributes that a thing which is missing has not."""


@dataclass(frozen=True, slots=True)
class Check:
    """`found` is whether the thing that the check is about is there at all."""

    attribute: str
    right: bool
    found: bool = True


def checks(scene: Scene, told: Caption, seen: Seen) -> Iterator[Check]:
    """A missing thing is wrong in everything that is told of it."""
    for place in told.things:
        yield from _checks_of_thing(scene.things[place], seen, placed=place in told.placed)
    named = {scene.things[place].kind for place in told.things}
    yield Check("nothing else", all(thing.kind in named for thing in seen.things))
    for fact in ("time", "ground", "weather", "style"):
        if fact in told.facts:
            yield Check(fact, getattr(seen, fact) == getattr(scene, fact))


def _checks_of_thing(thing: Thing, seen: Seen, *, placed: bool) -> Iterator[Check]:
    there = closest(thing, seen)
    yield Check("objects", there is not None)
    for fact in OF_THINGS:
        if fact != "place" or placed:
            right = there is not None and getattr(there, fact) == getattr(thing, fact)
            yield Check(fact, right, found=there is not None)


def closest(thing: Thing, seen: Seen) -> Thing | None:
    """Of the things of that kind the one that has most in common with it."""
    alike = [each for each in seen.things if each.kind == thing.kind]
    return max(
        alike, key=lambda each: sum(getattr(each, fact) == getattr(thing, fact) for fact in OF_THINGS), default=None
    )


def motion_checks(scene: Scene, seen: Seen, clip: Clip) -> Iterator[Check]:
    """`seen` is the frame half-way through, where things are in their places."""
    motion = scene.motion
    if motion is None:
        yield Check("rest", all(clip.direction_in(cell_of(thing)) == STILL for thing in seen.things))
    elif motion.subject == CAMERA:
        yield Check("motion", clip.camera() == motion.direction)
    else:
        there = closest(scene.things[motion.subject], seen)
        right = there is not None and clip.direction_in(cell_of(there)) == motion.direction
        yield Check("motion", right, found=there is not None)


@dataclass(frozen=True, slots=True)
class Score:
    """Checks of one attribute."""

    asked: int
    right: int

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's for a confidence of 95 % (Wilson, JASA 22, 1927)."""
        z, n = 1.96, self.asked
        if not n:
            return (0.0, 1.0)
        middle = (self.share + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(self.share * (1 - self.share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)


def scores(all_checks: Iterable[Check], *, found_only: bool = False) -> dict[str, Score]:
    """By attribute; with `found_only`, of things that are there alone."""
    asked: dict[str, int] = {}
    right: dict[str, int] = {}
    for check in all_checks:
        if check.found or not found_only:
            asked[check.attribute] = asked.get(check.attribute, 0) + 1
            right[check.attribute] = right.get(check.attribute, 0) + check.right
    return {name: Score(asked[name], right[name]) for name in ATTRIBUTES if name in asked}


def overall(all_scores: Mapping[str, Score]) -> float:
    """The mean of the attributes' shares."""
    shares: Sequence[float] = [score.share for score in all_scores.values()]
    return sum(shares) / len(shares) if shares else math.nan

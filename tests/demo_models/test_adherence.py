"""What counts as right: a picture in the judge's words, compared with its prompt."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from scripts.demo_models.captions import Caption
from scripts.demo_models.judging.adherence import Check, Score, checks, closest, motion_checks, scores
from scripts.demo_models.judging.facts import Seen
from scripts.demo_models.measuring import Clip
from scripts.demo_models.painting import paint
from scripts.demo_models.scenes import CAMERA, Direction, Motion, Scene, Thing, laid_out

HOUSE = Thing("house", "red", "large", 1, "left")
GULLS = Thing("gull", "white", "small", 2, "right")
SCENE = Scene((HOUSE, GULLS), time="night", ground="snow", weather="fog", style="line")
TOLD = Caption("…", (1, 0), frozenset({"time", "ground", "weather", "style", "motion"}), frozenset({0}))
RIGHT = Seen((HOUSE, GULLS), "night", "snow", "fog", "line")


def _wrong(seen: Seen, told: Caption = TOLD) -> list[str]:
    return sorted(check.attribute for check in checks(SCENE, told, seen) if not check.right)


def test_what_is_as_told_is_right() -> None:
    assert _wrong(RIGHT) == []


def test_a_missing_thing_is_wrong_in_all_that_is_told_of_it() -> None:
    seen = replace(RIGHT, things=(GULLS,))
    assert _wrong(seen) == ["colour", "count", "objects", "place", "size"]
    assert [check.attribute for check in checks(SCENE, TOLD, seen) if not check.found] == [
        "colour",
        "count",
        "size",
        "place",
    ]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        (replace(HOUSE, colour="blue"), ["colour"]),
        (replace(HOUSE, size="medium"), ["size"]),
        (replace(HOUSE, count=3), ["count"]),
        (replace(HOUSE, place="middle"), ["place"]),
        (replace(HOUSE, kind="tent"), ["colour", "count", "nothing else", "objects", "place", "size"]),
    ],
)
def test_each_fact_of_a_thing_counts_alone(changed: Thing, wrong: list[str]) -> None:
    assert _wrong(replace(RIGHT, things=(changed, GULLS))) == wrong


def test_a_place_that_is_not_told_does_not_count() -> None:
    assert _wrong(replace(RIGHT, things=(HOUSE, replace(GULLS, place="left")))) == []


@pytest.mark.parametrize(
    ("fact", "value"), [("time", "day"), ("ground", "sea"), ("weather", "rain"), ("style", "flat")]
)
def test_each_fact_of_the_scene_counts_where_it_is_told(fact: str, value: Any) -> None:
    seen = replace(RIGHT, **{fact: value})
    assert _wrong(seen) == [fact]
    assert _wrong(seen, replace(TOLD, facts=TOLD.facts - {fact})) == []


def test_something_that_is_not_named_is_wrong() -> None:
    assert _wrong(replace(RIGHT, things=(HOUSE, GULLS, Thing("sun", "yellow")))) == ["nothing else"]


def test_of_two_of_a_kind_the_one_that_fits_better_counts() -> None:
    other = replace(HOUSE, colour="blue", place="right")
    assert closest(HOUSE, replace(RIGHT, things=(other, HOUSE))) == HOUSE


def test_scores_count_by_attribute() -> None:
    found = [Check("colour", right=True), Check("colour", right=False), Check("colour", right=False, found=False)]
    assert scores(found) == {"colour": Score(3, 1)}
    assert scores(found, found_only=True) == {"colour": Score(2, 1)}


def test_an_interval_holds_the_share_and_narrows_with_more_checks() -> None:
    few, many = Score(10, 9).interval, Score(1000, 900).interval
    assert few[0] < many[0] < 0.9 < many[1] < few[1] <= 1.0
    assert Score(10, 10).interval[1] == pytest.approx(1.0)
    assert Score(0, 0).interval == (0.0, 1.0)


def _clip(scene: Scene) -> Clip:
    spots = laid_out(scene, Random(2), 120 / 208)
    return Clip(np.stack([paint(scene, spots, 120, 208, moment) for moment in np.linspace(0, 1, 9)]))


def _motion_is_right(asked: Scene, drawn: Scene) -> bool:
    seen = Seen(drawn.things, drawn.time, drawn.ground, drawn.weather, drawn.style)
    (check,) = motion_checks(asked, seen, _clip(drawn))
    return check.right


@pytest.mark.parametrize(
    ("thing", "way", "other"),
    [
        (Thing("boat", "red", place="left"), "right", "left"),
        (Thing("balloon", "purple", place="middle"), "up", "down"),
        (Thing("kite", "orange", place="right"), "down", "right"),
    ],
)
def test_a_motion_is_right_in_its_direction_alone(thing: Thing, way: Direction, other: Direction) -> None:
    still = Scene((thing, Thing("tree", "green", place="right" if thing.place == "middle" else "middle")), ground="sea")
    moving, otherwise = (replace(still, motion=Motion(0, direction)) for direction in (way, other))
    assert _motion_is_right(moving, moving)
    assert not _motion_is_right(otherwise, moving)
    assert not _motion_is_right(moving, still)
    assert not _motion_is_right(still, moving)
    assert _motion_is_right(still, still)


@pytest.mark.parametrize("way", ["left", "right", "in", "out"])
def test_a_camera_is_told_from_another(way: Direction) -> None:
    scene = Scene((Thing("castle", "red", place="left"), Thing("star", "yellow", place="right")), weather="snowfall")
    drawn = replace(scene, motion=Motion(CAMERA, way))
    found: list[Direction] = [
        asked
        for asked in ("left", "right", "in", "out")
        if _motion_is_right(replace(scene, motion=Motion(CAMERA, asked)), drawn)
    ]
    assert found == [way]

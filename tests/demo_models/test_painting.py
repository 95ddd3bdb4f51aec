"""Scenes as pictures."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from scripts.demo_models.painting import SHAPES, paint
from scripts.demo_models.scenes import (
    CAMERA,
    GROUNDS,
    KINDS,
    STYLES,
    TIMES,
    WEATHERS,
    Motion,
    Scene,
    Thing,
    laid_out,
)

SIDE = 64
TREE = Scene((Thing("tree", "green", place="left"),))


def _painted(scene: Scene, moment: float = 0.5) -> Any:
    return paint(scene, laid_out(scene, Random(3)), SIDE, SIDE, moment).astype(int)


def test_a_scene_is_painted_alike_every_time() -> None:
    assert np.array_equal(_painted(TREE), _painted(TREE))


def test_pictures_have_the_size_that_was_asked_for() -> None:
    picture = paint(TREE, laid_out(TREE, Random(3), 48 / 80), 48, 80)
    assert picture.shape == (80, 48, 3)
    assert picture.dtype == np.uint8


def test_every_kind_can_be_painted_and_shows() -> None:
    assert set(SHAPES) == set(KINDS)
    empty = _painted(Scene(()))
    for kind in KINDS:
        shown = _painted(Scene((Thing(kind, "purple", place="left"),)))
        changed = np.abs(shown - empty).max(axis=-1) > 24
        across = np.flatnonzero(changed.any(axis=0)).mean() / SIDE
        assert changed.mean() > 0.01, kind
        assert abs(across - 0.2) < 0.08, kind


@pytest.mark.parametrize(
    ("fact", "values"), [("time", TIMES), ("ground", GROUNDS), ("weather", WEATHERS), ("style", STYLES)]
)
def test_each_fact_of_a_scene_shows(fact: str, values: tuple[Any, ...]) -> None:
    pictures = [_painted(replace(TREE, **{fact: value})) for value in values]
    for number, one in enumerate(pictures):
        for other in pictures[:number]:
            assert np.abs(one - other).mean() > 1.5


@pytest.mark.parametrize("subject", [0, CAMERA])
def test_a_clip_moves_where_a_motion_is_told_and_only_there(subject: int) -> None:
    still = Scene((Thing("cloud", "white"),))
    moving = replace(still, motion=Motion(subject, "left"))
    assert np.array_equal(_painted(still, 0.0), _painted(still, 1.0))
    assert np.abs(_painted(moving, 0.0) - _painted(moving, 1.0)).mean() > 1.0


def test_rain_falls_through_the_whole_clip() -> None:
    rain = replace(TREE, weather="rain")
    assert not np.array_equal(_painted(rain, 0.2), _painted(rain, 0.3))

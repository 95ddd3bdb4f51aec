"""What can be measured without a trained judge: what moves in a clip, and the time of day.

A motion is found by trying: does the earlier frame, moved that way, explain what changed? The time of day is that of
the nearest sky.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.judging.facts import cell_windows
from scripts.demo_models.painting import Pixels, sky
from scripts.demo_models.scenes import HORIZON, TIMES, TRAVEL, ZOOM, Direction

Floats = NDArray[np.floating]
Moved = Callable[[Floats], Floats]
"""Points, rows and columns, to where they come."""

STILL = "still"
DIRECTIONS: tuple[Direction, ...] = ("left", "right", "up", "down")
CAMERA_DIRECTIONS: tuple[Direction, ...] = ("left", "right", "in", "out")
SPEEDS = (0.35, 0.5, 0.7, 0.85, 1.0, 1.15, 1.35)
"""That are tried, by the speed with which things move in this world."""
SIDE = 128
"""Pixels of the shorter side of what is looked at."""
SOFTENED = 0.8  # pixels, so that an edge that is a little off still fits
CHANGED = 30.0
"""How far apart the two colours of a pixel that changed are, of 441."""
LEAST_AREA = 0.004
"""The share of a cell, or of the picture, that changes when something moves."""
EXPLAINED = 0.85
"""How much of the change may be left over once the motion is undone.

Of painted clips hardly anything is, but what is drawn roughly flickers while it moves: from 0.65 to 0.95, as many
painted clips are read rightly.
"""
NARROW = 0.8
"""How much of a cell's width is looked at, so that its neighbours are not."""


class Clip:
    """What moves around the middle of a clip, within a quarter of its length.

    In that time the rain of this world falls by just as much as it repeats itself, so it does not count.
    """

    def __init__(self, frames: Pixels) -> None:
        """`frames` are at equal distances, shape (n, height, width, 3), the first and the last of the clip included."""
        middle, reach = len(frames) // 2, max(1, round((len(frames) - 1) / 8))
        self._span = 2 * reach / (len(frames) - 1)
        self._before, self._after = (
            cv2.GaussianBlur(smaller(frames[index], SIDE).astype(np.float32), (0, 0), SOFTENED)
            for index in (middle - reach, middle + reach)
        )
        self._changed = np.linalg.norm(self._before - self._after, axis=-1) > CHANGED

    def direction_in(self, cell: int) -> str:
        """Where what is in a cell goes: left, right, up, down, or still."""
        height, width = self._changed.shape
        x, y, wide, high = list(cell_windows(width / height))[cell]
        rows = np.abs((np.arange(height) + 0.5) / height - y) < high / 2
        columns = np.abs((np.arange(width) + 0.5) / width - x) < wide * NARROW / 2
        return self._best(rows[:, None] & columns[None, :], {way: self._travelled(way, 1) for way in DIRECTIONS})

    def camera(self) -> str:
        """How the camera moves: left, right, in, out, or still."""
        return self._best(
            np.ones_like(self._changed),
            {
                "left": self._travelled("left", -1),
                "right": self._travelled("right", -1),
                "in": self._zoomed(1),
                "out": self._zoomed(-1),
            },
        )

    def _best(self, where: NDArray[np.bool_], ways: Mapping[str, Sequence[Moved]]) -> str:
        """The way that explains best what changed there."""
        points = np.argwhere(self._changed & where)
        if len(points) < LEAST_AREA * where.sum():
            return STILL
        left_over = {
            name: min(self._left_over(points, move(points.astype(float))) for move in moves)
            for name, moves in ways.items()
        }
        best = min(left_over, key=lambda name: left_over[name])
        return best if left_over[best] < EXPLAINED * self._left_over(points, points.astype(float)) else STILL

    def _left_over(self, points: NDArray[np.int_], moved: Floats) -> float:
        """The mean difference of the pixels at those points, before, from those where they are moved to, after."""
        limits = np.array(self._changed.shape) - 1
        rounded = np.round(moved).astype(int)
        inside = ((rounded >= 0) & (rounded <= limits)).all(axis=1)
        if not inside.any():
            return float("inf")
        (rows, columns), (new_rows, new_columns) = points[inside].T, rounded[inside].T
        return float(np.abs(self._before[rows, columns] - self._after[new_rows, new_columns]).mean())

    def _travelled(self, way: Direction, sign: int) -> list[Moved]:
        unit = min(self._changed.shape)
        right, down = (sign * share * self._span * unit for share in TRAVEL[way])
        return [_shift(speed * down, speed * right) for speed in SPEEDS]

    def _zoomed(self, sign: int) -> list[Moved]:
        height, width = self._changed.shape
        centre = np.array([HORIZON * height - 0.5, width / 2 - 0.5])
        return [_scale(ZOOM ** (sign * speed * self._span), centre) for speed in SPEEDS]


def _shift(down: float, right: float) -> Moved:
    return lambda points: points + np.array([down, right])


def _scale(times: float, centre: Floats) -> Moved:
    return lambda points: centre + (points - centre) * times


def time_of(picture: Pixels) -> str:
    """The time of day whose sky, clear or grey, coloured or drawn with lines, is nearest to this one's."""
    small = smaller(picture, SIDE).astype(float)
    rows = int(HORIZON * len(small))
    upper, lower = (np.median(band, axis=(0, 1)) for band in (small[rows // 4 : rows // 2], small[rows // 2 : rows]))
    nearest = min(_skies(), key=lambda one: np.linalg.norm(upper - one.above) + np.linalg.norm(lower - one.below))
    return nearest.time


@dataclass(frozen=True, slots=True)
class _Sky:
    """Its colours in the two bands that `time_of` looks at."""

    time: str
    above: Floats
    below: Floats


def _skies() -> Iterator[_Sky]:
    for time in TIMES:
        for covered in (False, True):
            for lined in (False, True):
                top, bottom = sky(time, covered=covered, lined=lined)
                yield _Sky(time, top * 0.625 + bottom * 0.375, top * 0.25 + bottom * 0.75)


def smaller(picture: Pixels, short_side: int) -> Pixels:
    """To so many pixels of the shorter side, unless it has fewer."""
    height, width = picture.shape[:2]
    scale = short_side / min(width, height)
    if scale >= 1:
        return picture
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

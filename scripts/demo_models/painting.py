"""Scenes as pictures, in three styles of drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.scenes import (
    COLOURS,
    HORIZON,
    KINDS,
    TRAVEL,
    Ground,
    Rgb,
    Scene,
    Spot,
    Style,
    Time,
    moved,
)

Pixels = NDArray[np.uint8]
Points = Sequence[tuple[float, float]]

SKIES: dict[Time, tuple[Rgb, Rgb]] = {  # above, and at the horizon
    "morning": ((146, 190, 232), (255, 214, 186)),
    "day": ((66, 146, 230), (184, 222, 248)),
    "dusk": ((92, 62, 140), (252, 136, 74)),
    "night": ((12, 16, 48), (40, 50, 104)),
}
GROUNDS: dict[Ground, tuple[Rgb, Rgb]] = {  # far, and near
    "hill": ((112, 178, 84), (66, 132, 56)),
    "sea": ((58, 142, 184), (20, 84, 140)),
    "desert": ((236, 204, 136), (208, 160, 88)),
    "snow": ((248, 250, 254), (206, 222, 240)),
    "city": ((150, 150, 156), (96, 96, 104)),
}
LIGHT: dict[Time, Rgb] = {
    "morning": (250, 240, 232),
    "day": (255, 255, 255),
    "dusk": (226, 190, 186),
    "night": (128, 138, 184),
}
PAPER: Rgb = (252, 250, 244)
INK: Rgb = (30, 30, 52)
DARK: Rgb = (58, 50, 56)
TRUNK: Rgb = (122, 84, 54)
SMOOTHING = 2  # every pixel is the mean of so many squared
SKY_BANDS = 6
FALLING = 4  # drops or flakes side by side on one unit, and twice as many rows
FRACTION = 4  # bits of a pixel, for OpenCV's coordinates


def paint(scene: Scene, spots: Sequence[Spot], width: int, height: int, moment: float = 0.5) -> Pixels:
    """RGB, shape (height, width, 3); `moment` runs from 0.0 to 1.0 through the scene's motion."""
    brush = _Brush(width * SMOOTHING, height * SMOOTHING, scene.style, scene.time)
    aspect = width / height
    _paint_sky(brush, scene)
    drift = 0.0
    if scene.motion is not None and scene.motion.subject < 0:
        drift = -TRAVEL[scene.motion.direction][0] * (moment - 0.5)
    _paint_ground(brush, scene, drift)
    for spot in spots:
        _paint_thing(brush, scene, moved(scene, spot, moment, aspect))
    _paint_weather(brush, scene, moment)
    return brush.finished(width, height)


@dataclass
class _Brush:
    """Paints in a frame: a foot, a height, and a direction to face; points are in heights, to the right and up."""

    width: int
    height: int
    style: Style
    time: Time
    canvas: Pixels = field(init=False)
    foot: tuple[float, float] = (0.0, 0.0)
    tall: float = 1.0
    facing: int = 1

    def __post_init__(self) -> None:
        self.canvas = np.empty((self.height, self.width, 3), np.uint8)

    @property
    def unit(self) -> float:
        return float(min(self.width, self.height))

    def at(self, x: float, y: float, tall: float, facing: int = 1) -> None:
        """Pixels; the next shapes stand there."""
        self.foot, self.tall, self.facing = (x, y), tall, facing

    def fill(self, points: Points, rgb: Rgb) -> NDArray[np.int32]:
        """A polygon of just this colour; returns where it is on the canvas."""
        pixels = self._placed(points)
        cv2.fillPoly(self.canvas, [pixels], rgb, cv2.LINE_8, FRACTION)
        return pixels

    def shape(self, points: Points, colour: Rgb, *, lit: bool = True, shaded: bool = True) -> None:
        """A polygon in the brush's style; what is not `lit` shines by itself."""
        rgb = self.seen(colour, lit=lit)
        pixels = self.fill(points, rgb)
        if self.style == "painterly" and shaded:
            self._shade(pixels, rgb)
        if self.style == "line":
            ink = INK if self.time != "night" else (226, 226, 240)
            thick = max(1, round(self.unit * 0.006))
            cv2.polylines(
                self.canvas, [pixels], isClosed=True, color=ink, thickness=thick, lineType=cv2.LINE_8, shift=FRACTION
            )

    def disc(self, x: float, y: float, radius: float, colour: Rgb, *, lit: bool = True) -> None:
        self.shape(_circle(x, y, radius), colour, lit=lit)

    def seen(self, colour: Rgb, *, lit: bool) -> Rgb:
        rgb = np.array(colour, float)
        if lit:
            rgb = rgb * np.array(LIGHT[self.time]) / 255
        if self.style == "line":
            rgb = rgb * 0.6 + np.array(PAPER) * 0.4
        return _rgb(rgb)

    def _shade(self, pixels: NDArray[np.int32], rgb: Rgb) -> None:
        """A light edge to the left and a dark one to the right, as of a broad brush."""
        low, high = pixels.min(axis=(0, 1)) >> FRACTION, (pixels.max(axis=(0, 1)) >> FRACTION) + 1
        left, top = np.maximum(low, 0)
        right, bottom = min(high[0], self.width), min(high[1], self.height)
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [pixels - (np.array([left, top]) << FRACTION)], 255, cv2.LINE_8, FRACTION)
        ramp = np.linspace(1.28, 0.72, int(high[0] - low[0]), dtype=np.float32)[left - low[0] :][: right - left]
        shaded = np.clip(np.array(rgb, np.float32) * ramp[None, :, None], 0, 255)
        area = self.canvas[top:bottom, left:right]
        inside = mask > 0
        area[inside] = np.broadcast_to(shaded, area.shape)[inside]

    def _placed(self, points: Points) -> NDArray[np.int32]:
        placed = np.array(points, float) * self.tall * np.array([self.facing, -1]) + np.array(self.foot)
        exact: NDArray[np.int32] = np.round(placed * (1 << FRACTION)).astype(np.int32)[None]
        return exact

    def finished(self, width: int, height: int) -> Pixels:
        return np.asarray(cv2.resize(self.canvas, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _rgb(values: NDArray[np.floating]) -> Rgb:
    red, green, blue = (int(value) for value in np.clip(np.round(values), 0, 255))
    return red, green, blue


def _mixed(first: Rgb, second: Rgb, share: float) -> Rgb:
    return _rgb(np.array(first) * (1 - share) + np.array(second) * share)


def _circle(x: float, y: float, radius: float, start: float = 0.0, stop: float = 2 * pi, count: int = 28) -> Points:
    return [(x + radius * cos(turn), y + radius * sin(turn)) for turn in np.linspace(start, stop, count).tolist()]


def sky(time: Time, *, covered: bool, lined: bool) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Its colours above and at the horizon: greyer where clouds cover it, and paler in a drawing of lines."""
    above, below = (np.array(colour, float) for colour in SKIES[time])
    if covered:
        grey = {"night": 44, "dusk": 120}.get(time, 176)
        above, below = (colour * 0.45 + grey * 0.55 for colour in (above, below))
    if lined:
        above, below = (colour * 0.55 + np.array(PAPER) * 0.45 for colour in (above, below))
    return above, below


def _paint_sky(brush: _Brush, scene: Scene) -> None:
    covered = scene.weather in {"cloudy", "rain", "snowfall"}
    above, below = sky(scene.time, covered=covered, lined=brush.style == "line")
    height = round(HORIZON * brush.height)
    if brush.style == "painterly":
        across = np.linspace(0, 1, 48)
        for band in range(SKY_BANDS):
            wave = (band / SKY_BANDS - 0.035 * np.sin(across * 3 * pi)) * height if band else np.zeros(48)
            points = [*zip(across * brush.width, wave, strict=True), (brush.width, brush.height), (0, brush.height)]
            brush.at(0, 0, 1)
            brush.fill([(x, -y) for x, y in points], _rgb(above + (below - above) * band / (SKY_BANDS - 1)))
        return
    share = np.clip(np.arange(brush.height) / height, 0, 1)[:, None]
    brush.canvas[:] = (above * (1 - share) + below * share).astype(np.uint8)[:, None]


def _paint_ground(brush: _Brush, scene: Scene, drift: float) -> None:
    """`drift` is how far it has come to the right, in units."""
    far, near = GROUNDS[scene.ground]
    unit, horizon = brush.unit, HORIZON * brush.height
    across = np.linspace(-0.2, 1.2, 64)
    shift = drift * unit / brush.width
    if scene.ground == "city":
        _paint_skyline(brush, horizon, drift)
    hilly = {"sea": 0.15, "city": 0.0, "desert": 0.7}.get(scene.ground, 1.0)
    for row, share, swing in ((0.0, 0.0, 0.022 * hilly), (0.11, 0.5, 0.016 * hilly), (0.2, 1.0, 0.014 * hilly)):
        top = horizon + row * unit
        crest = top - swing * unit * np.sin((across - shift) * brush.width / unit * 5.2 + 9 * row)
        points = [
            *zip(across * brush.width, crest, strict=True),
            (1.2 * brush.width, brush.height * 1.1),
            (-0.2 * brush.width, brush.height * 1.1),
        ]
        brush.at(0, 0, 1)
        brush.shape([(x, -y) for x, y in points], _mixed(far, near, share), shaded=False)


def _paint_skyline(brush: _Brush, horizon: float, drift: float) -> None:
    towers = (0.16, 0.1, 0.22, 0.13, 0.19, 0.09, 0.24, 0.14, 0.2, 0.11)
    width = 0.13 * brush.unit
    for index in range(-4, int(brush.width / width) + 5):
        brush.at(index * width + drift * brush.unit, horizon, brush.unit)
        tall = towers[index % len(towers)]
        brush.shape([(0, 0), (0, tall), (0.115, tall), (0.115, 0)], (118, 122, 142), shaded=False)


def _paint_weather(brush: _Brush, scene: Scene, moment: float) -> None:
    unit, width, height = brush.unit, brush.width, brush.height
    if scene.weather == "cloudy":
        shade = brush.seen((222, 224, 230), lit=True)
        for x, y, size in ((0.02, 0.03, 0.17), (0.3, 0.0, 0.2), (0.62, 0.02, 0.18), (0.95, 0.0, 0.2)):
            brush.at(x * width, y * height, size * unit)
            for left, low, radius in ((-0.7, 0.1, 0.55), (0.0, -0.05, 0.7), (0.75, 0.1, 0.5)):
                brush.disc(left, low, radius, shade, lit=False)
    elif scene.weather == "fog":
        rows = np.arange(height)
        veil = 0.72 * np.exp(-(((rows - HORIZON * height) / (0.3 * unit)) ** 2))
        mist = np.array(brush.seen((232, 234, 238), lit=True), np.float32)
        share = veil[:, None, None].astype(np.float32)
        brush.canvas[:] = (brush.canvas * (1 - share) + mist * share).astype(np.uint8)
    elif scene.weather in {"rain", "snowfall"}:
        _paint_fall(brush, moment, rain=scene.weather == "rain")


def _paint_fall(brush: _Brush, moment: float, *, rain: bool) -> None:
    """Drops or flakes on a grid, which comes two rows further down in every fifth of a clip."""
    unit = brush.unit
    across = unit / FALLING
    down = brush.height / round(2 * brush.height / across)
    colour = brush.seen((206, 222, 248) if rain else (255, 255, 255), lit=False)
    drop = (
        [(0.006, 0.036), (0.014, 0.036), (-0.006, -0.036), (-0.014, -0.036)] if rain else _circle(0, 0, 0.013, count=12)
    )
    for row in range(-2, round(brush.height / down) + 1):
        for column in range(round(brush.width / across) + 1):
            x = (column + (0.25 if row % 2 else 0.75)) * across
            brush.at(x, (row + moment * 10 % 2.0 + 0.4) * down, unit)
            brush.fill(drop, colour)


def _paint_thing(brush: _Brush, scene: Scene, spot: Spot) -> None:
    thing = scene.things[spot.thing]
    facing = 1
    if scene.motion is not None and scene.motion.subject == spot.thing and scene.motion.direction == "left":
        facing = -1
    x, y, tall = spot.x * brush.width, spot.y * brush.height, spot.height * brush.unit
    brush.at(x, y, tall, facing)
    if scene.ground == "sea" and KINDS[thing.kind].zone == "ground" and thing.kind not in {"bridge", "mountain"}:
        brush.shape(_half_disc(0, -0.12, 0.42, 0.3), (150, 130, 100))
    SHAPES[thing.kind](brush, COLOURS[thing.colour])


def _half_disc(x: float, y: float, across: float, up: float) -> Points:
    return [(x + across * cos(turn), y + up * sin(turn)) for turn in np.linspace(0, pi, 24)]


def _box(left: float, low: float, right: float, high: float) -> Points:
    return [(left, low), (left, high), (right, high), (right, low)]


def _darker(colour: Rgb) -> Rgb:
    return _mixed(colour, (0, 0, 0), 0.3) if sum(colour) > 150 else _mixed(colour, (255, 255, 255), 0.25)


def _sun(brush: _Brush, colour: Rgb) -> None:
    rays = []
    for index in range(24):
        radius = 0.5 if index % 2 == 0 else 0.38
        rays.append((radius * cos(index * pi / 12), 0.5 + radius * sin(index * pi / 12)))
    brush.shape(rays, _mixed(colour, (255, 255, 255), 0.25), lit=False)
    brush.disc(0, 0.5, 0.36, colour, lit=False)


def _moon(brush: _Brush, colour: Rgb) -> None:
    outer = _circle(0, 0.5, 0.5, pi / 3, 5 * pi / 3)
    inner = _circle(0.3, 0.5, 0.436, 5 * pi / 3 - 0.35, pi / 3 + 0.35)
    brush.shape([*outer, *inner], colour, lit=False)


def _star(brush: _Brush, colour: Rgb) -> None:
    points = []
    for index in range(10):
        radius = 0.52 if index % 2 == 0 else 0.22
        turn = pi / 2 + index * pi / 5
        points.append((radius * cos(turn), 0.5 + radius * sin(turn)))
    brush.shape(points, colour, lit=False)


def _cloud(brush: _Brush, colour: Rgb) -> None:
    outline = [
        (-1.0, 0.0),
        *_circle(-0.62, 0.34, 0.36, pi * 1.2, 0.35 * pi, 12),
        *_circle(0.0, 0.52, 0.48, 0.85 * pi, 0.15 * pi, 14),
        *_circle(0.62, 0.34, 0.36, 0.65 * pi, -0.2 * pi, 12),
        (1.0, 0.0),
    ]
    brush.shape(outline, colour)


def _balloon(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(-0.13, 0.17), (-0.3, 0.45), (0.3, 0.45), (0.13, 0.17)], _darker(colour))
    brush.disc(0, 0.66, 0.34, colour)
    brush.shape([(x * 0.36, 0.66 + y) for x, y in _circle(0, 0, 0.34)], _mixed(colour, (255, 255, 255), 0.45))
    brush.shape(_box(-0.09, 0.0, 0.09, 0.14), TRUNK)


def _gull(brush: _Brush, colour: Rgb) -> None:
    upper = [(-1.05, 0.55), (-0.55, 1.0), (0.0, 0.42), (0.55, 1.0), (1.05, 0.55)]
    lower = [(0.58, 0.7), (0.12, 0.12), (0.0, 0.0), (-0.12, 0.12), (-0.58, 0.7)]
    brush.shape([*upper, *lower], colour)


def _kite(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(0.0, 0.3), (-0.03, 0.15), (0.05, 0.0), (0.09, 0.0), (0.01, 0.15), (0.03, 0.3)], DARK)
    brush.shape([(0, 0.3), (-0.3, 0.7), (0, 1.0), (0.3, 0.7)], colour)
    brush.shape([(0, 0.3), (0, 1.0), (0.3, 0.7)], _darker(colour))


def _plane(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(-1.1, 0.5), (-1.25, 1.0), (-0.95, 1.0), (-0.7, 0.6)], _darker(colour))
    brush.shape([(-1.15, 0.5), (-1.0, 0.64), (0.8, 0.68), (1.15, 0.5), (0.9, 0.34), (-0.8, 0.34)], colour)
    brush.shape([(0.25, 0.48), (-0.45, 0.0), (-0.75, 0.0), (-0.25, 0.48)], _darker(colour))


def _lighthouse(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(-0.18, 0), (-0.11, 0.72), (0.11, 0.72), (0.18, 0)], colour)
    stripe = (246, 246, 242) if sum(colour) < 600 else (200, 60, 50)
    brush.shape([(-0.158, 0.22), (-0.14, 0.42), (0.14, 0.42), (0.158, 0.22)], stripe)
    brush.shape(_box(-0.15, 0.7, 0.15, 0.75), DARK)
    brush.shape(_box(-0.09, 0.75, 0.09, 0.88), (255, 232, 130), lit=False)
    brush.shape([(-0.14, 0.88), (0, 1.0), (0.14, 0.88)], colour)


def _house(brush: _Brush, colour: Rgb) -> None:
    brush.shape(_box(-0.46, 0, 0.46, 0.56), colour)
    brush.shape([(-0.58, 0.54), (0, 1.0), (0.58, 0.54)], _darker(colour))
    brush.shape(_box(-0.1, 0, 0.12, 0.32), TRUNK)
    brush.shape(_box(-0.36, 0.24, -0.18, 0.42), (255, 236, 150), lit=False)
    brush.shape(_box(0.2, 0.24, 0.38, 0.42), (255, 236, 150), lit=False)


def _tree(brush: _Brush, colour: Rgb) -> None:
    brush.shape(_box(-0.07, 0, 0.07, 0.42), TRUNK)
    brush.disc(-0.17, 0.52, 0.2, colour)
    brush.disc(0.17, 0.52, 0.2, colour)
    brush.disc(0, 0.72, 0.27, colour)


def _windmill(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(-0.22, 0), (-0.13, 0.6), (0.13, 0.6), (0.22, 0)], colour)
    brush.shape([(-0.15, 0.6), (0, 0.74), (0.15, 0.6)], _darker(colour))
    for turn in (pi / 4, 3 * pi / 4, 5 * pi / 4, 7 * pi / 4):
        along, aside = (cos(turn), sin(turn)), (-sin(turn), cos(turn))
        blade = [(0.05, -0.02), (0.4, -0.06), (0.4, 0.06), (0.05, 0.02)]
        brush.shape([(a * along[0] + b * aside[0], 0.6 + a * along[1] + b * aside[1]) for a, b in blade], DARK)


def _tent(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(-0.75, 0), (0, 1.0), (0.75, 0)], colour)
    brush.shape([(-0.2, 0), (0, 0.62), (0.2, 0)], DARK)


def _castle(brush: _Brush, colour: Rgb) -> None:
    brush.shape(_box(-0.42, 0, 0.42, 0.5), colour)
    for x in (-0.28, 0.0, 0.28):
        brush.shape(_box(x - 0.06, 0.5, x + 0.06, 0.58), colour)
    for x in (-0.46, 0.46):
        brush.shape(_box(x - 0.14, 0, x + 0.14, 0.72), colour)
        brush.shape([(x - 0.18, 0.72), (x, 1.0), (x + 0.18, 0.72)], _darker(colour))
    brush.shape([*_box(-0.12, 0, 0.12, 0.2)[:1], (-0.12, 0.2), *_circle(0, 0.2, 0.12, pi, 0, 10), (0.12, 0)], DARK)


def _flower(brush: _Brush, colour: Rgb) -> None:
    brush.shape(_box(-0.03, 0, 0.03, 0.6), (52, 118, 52))
    brush.shape([(0.0, 0.12), (0.26, 0.34), (0.04, 0.28)], (52, 118, 52))
    for index in range(6):
        turn = index * pi / 3
        brush.disc(0.19 * cos(turn), 0.72 + 0.19 * sin(turn), 0.12, colour)
    brush.disc(0, 0.72, 0.12, (250, 200, 50) if colour != COLOURS["yellow"] else (150, 90, 40))


def _cactus(brush: _Brush, colour: Rgb) -> None:
    for left, low, right, high in (
        (-0.36, 0.4, -0.24, 0.72),
        (-0.36, 0.36, 0, 0.48),
        (0.24, 0.5, 0.36, 0.84),
        (0, 0.46, 0.36, 0.58),
    ):
        brush.shape(_box(left, low, right, high), colour)
    brush.shape([(-0.12, 0), (-0.12, 0.88), *_circle(0, 0.88, 0.12, pi, 0, 10), (0.12, 0)], colour)


def _mushroom(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(-0.2, 0), (-0.14, 0.5), (0.14, 0.5), (0.2, 0)], (238, 226, 204))
    brush.shape(_half_disc(0, 0.42, 0.62, 0.58), colour)
    spot = (250, 250, 246) if sum(colour) < 650 else (210, 60, 50)
    for x, y in ((-0.3, 0.62), (0.05, 0.8), (0.32, 0.58)):
        brush.disc(x, y, 0.09, spot)


def _mountain(brush: _Brush, colour: Rgb) -> None:
    brush.shape([(-0.85, 0), (-0.1, 1.0), (0.1, 0.95), (0.85, 0)], colour)
    brush.shape(
        [(-0.28, 0.76), (-0.1, 1.0), (0.1, 0.95), (0.27, 0.74), (0.1, 0.66), (-0.05, 0.76), (-0.16, 0.66)],
        (246, 248, 252),
    )


def _bridge(brush: _Brush, colour: Rgb) -> None:
    arch = _circle(0, 0, 0.62, pi, 0, 20)
    brush.shape(
        [(-1.3, 0), (-1.3, 0.8), (1.3, 0.8), (1.3, 0), *[(x, y * 0.9) for x, y in reversed(list(arch))]], colour
    )
    brush.shape(_box(-1.3, 0.8, 1.3, 0.95), _darker(colour))


def _boat(brush: _Brush, colour: Rgb) -> None:
    brush.shape(_box(-0.03, 0.2, 0.03, 1.0), TRUNK)
    brush.shape([(0.05, 0.32), (0.05, 0.98), (0.46, 0.32)], (246, 246, 242))
    brush.shape([(-0.05, 0.32), (-0.05, 0.86), (-0.34, 0.32)], (226, 226, 222))
    brush.shape([(-0.6, 0.26), (-0.4, 0), (0.42, 0), (0.66, 0.26)], colour)


SHAPES: dict[str, Callable[[_Brush, Rgb], None]] = {
    "sun": _sun,
    "moon": _moon,
    "star": _star,
    "cloud": _cloud,
    "balloon": _balloon,
    "gull": _gull,
    "kite": _kite,
    "plane": _plane,
    "lighthouse": _lighthouse,
    "house": _house,
    "tree": _tree,
    "windmill": _windmill,
    "tent": _tent,
    "castle": _castle,
    "flower": _flower,
    "cactus": _cactus,
    "mushroom": _mushroom,
    "mountain": _mountain,
    "bridge": _bridge,
    "boat": _boat,
}

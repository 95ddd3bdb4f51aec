"""The world that the demo models know: what may be in a picture, where it stands, and how it moves.

A scene is a handful of facts. `captions.py` tells them, `painting.py` paints them, and `measuring.py` finds them again
in a picture. There are no people in this world.

Lengths are in units: the shorter side of a picture is 1.0. Positions are shares of the whole width and height.

Chance moves things by whole steps of a sixteenth of a unit, and a motion takes them by half a cell of WAN's latents
from key frame to key frame: what a small model has to draw is always cut up in the same ways, and it learns to draw it
sharply.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

Time = Literal["morning", "day", "dusk", "night"]
Ground = Literal["hill", "sea", "desert", "snow", "city"]
Weather = Literal["clear", "cloudy", "rain", "snowfall", "fog"]
Style = Literal["flat", "painterly", "line"]
Size = Literal["small", "medium", "large"]
Place = Literal["left", "middle", "right"]
Zone = Literal["sky", "ground", "water"]
Direction = Literal["left", "right", "up", "down", "in", "out"]

TIMES: tuple[Time, ...] = ("morning", "day", "dusk", "night")
GROUNDS: tuple[Ground, ...] = ("hill", "sea", "desert", "snow", "city")
WEATHERS: tuple[Weather, ...] = ("clear", "cloudy", "rain", "snowfall", "fog")
STYLES: tuple[Style, ...] = ("flat", "painterly", "line")
SCENE_FACTS: dict[str, tuple[str, ...]] = {"time": TIMES, "ground": GROUNDS, "weather": WEATHERS, "style": STYLES}
SIZES: tuple[Size, ...] = ("small", "medium", "large")
PLACES: tuple[Place, ...] = ("left", "middle", "right")
CAMERA = -1
"""The subject of a motion that is the camera's."""

Rgb = tuple[int, int, int]
COLOURS: dict[str, Rgb] = {
    "red": (212, 44, 38),
    "orange": (242, 132, 28),
    "yellow": (250, 214, 58),
    "green": (48, 150, 70),
    "blue": (40, 92, 208),
    "purple": (128, 58, 176),
    "pink": (242, 128, 184),
    "white": (246, 246, 242),
    "black": (36, 36, 42),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """`height` is that of a medium one, in units; `directions` are the ways in which it moves."""

    zone: Zone
    natural: str
    height: float
    directions: tuple[Direction, ...] = ()


KINDS: dict[str, Kind] = {
    "sun": Kind("sky", "yellow", 0.20, ("up", "down")),
    "moon": Kind("sky", "white", 0.18, ("up", "down")),
    "star": Kind("sky", "yellow", 0.15),
    "cloud": Kind("sky", "white", 0.15, ("left", "right")),
    "balloon": Kind("sky", "red", 0.26, ("up", "down", "left", "right")),
    "gull": Kind("sky", "white", 0.11, ("left", "right")),
    "kite": Kind("sky", "orange", 0.24, ("up", "down")),
    "plane": Kind("sky", "white", 0.12, ("left", "right")),
    "lighthouse": Kind("ground", "white", 0.38),
    "house": Kind("ground", "orange", 0.25),
    "tree": Kind("ground", "green", 0.30),
    "windmill": Kind("ground", "white", 0.34),
    "tent": Kind("ground", "orange", 0.19),
    "castle": Kind("ground", "purple", 0.28),
    "flower": Kind("ground", "pink", 0.22),
    "cactus": Kind("ground", "green", 0.27),
    "mushroom": Kind("ground", "red", 0.20),
    "mountain": Kind("ground", "blue", 0.33),
    "bridge": Kind("ground", "red", 0.17),
    "boat": Kind("water", "red", 0.24, ("left", "right")),
}

SCALES: dict[Size, float] = {"small": 0.66, "medium": 1.0, "large": 1.4}
STEP = 1 / 16
ACROSS: dict[Place, float] = {"left": 3 * STEP, "middle": 8 * STEP, "right": 13 * STEP}
HORIZON = 0.66
"""Where sky and ground meet, as a share of the height."""
TRAVEL: dict[Direction, tuple[float, float]] = {
    "left": (-5 * STEP, 0.0),
    "right": (5 * STEP, 0.0),
    "up": (0.0, -5 * STEP),
    "down": (0.0, 5 * STEP),
    "in": (0.0, 0.0),
    "out": (0.0, 0.0),
}
"""How far something comes in a clip, in units to the right and down; the camera zooms `in` or `out`."""
OPPOSITE: dict[Direction, Direction] = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "in": "out",
    "out": "in",
}
ZOOM = 1.5
"""How many times as large everything is at the end as it was at the beginning, when the camera zooms in."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One to three of a kind, side by side."""

    kind: str
    colour: str
    size: Size = "medium"
    count: int = 1
    place: Place = "middle"


@dataclass(frozen=True, slots=True)
class Motion:
    """`subject` is the place of a thing in its scene, or `CAMERA`."""

    subject: int
    direction: Direction


@dataclass(frozen=True, slots=True)
class Scene:
    things: tuple[Thing, ...]
    time: Time = "day"
    ground: Ground = "hill"
    weather: Weather = "clear"
    style: Style = "flat"
    motion: Motion | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """One thing on the picture: `x` and `y` are the middle of its foot as shares of width and height.

    `height` is in units, and `thing` the place of its kind in the scene.
    """

    thing: int
    x: float
    y: float
    height: float


def random_scene(random: Random, *, moving: bool = False, most_things: int = 3) -> Scene:
    """Facts that may stand together; a `moving` one has a motion three times out of four."""
    ground = random.choice(GROUNDS)
    scene = Scene(
        _things(random, ground, most_things),
        random.choices(TIMES, (2, 3, 3, 3))[0],
        ground,
        random.choices(WEATHERS, (5, 2, 2, 2, 2))[0],
        random.choices(STYLES, (2, 1, 1))[0],
    )
    return replace(scene, motion=random_motion(random, scene)) if moving and random.random() < 0.75 else scene


def _things(random: Random, ground: Ground, most: int) -> tuple[Thing, ...]:
    """No two in the same third of the same zone, and a kind only once."""
    kinds = [name for name, kind in KINDS.items() if kind.zone != "water" or ground == "sea"]
    free = {zone: random.sample(PLACES, len(PLACES)) for zone in ("sky", "ground")}
    things: list[Thing] = []
    for name in random.sample(kinds, random.choices(range(1, most + 1), (3, 4, 3)[:most])[0]):
        kind = KINDS[name]
        places = free["sky" if kind.zone == "sky" else "ground"]
        colour = kind.natural if random.random() < 0.35 else random.choice(list(COLOURS))
        size = random.choices(SIZES, (1, 3, 1))[0]
        alone = size == "large" or name in {"bridge", "mountain"}
        count = 1 if alone else random.choices((1, 2, 3), (5, 2, 2))[0]
        things.append(Thing(name, colour, size, count, places.pop()))
    return tuple(things)


def random_motion(random: Random, scene: Scene) -> Motion:
    ways = [
        Motion(place, direction)
        for place, thing in enumerate(scene.things)
        for direction in KINDS[thing.kind].directions
    ]
    camera: tuple[Direction, ...] = ("left", "right", "in", "out")
    if ways and random.random() < 0.75:
        return random.choice(ways)
    return Motion(CAMERA, random.choice(camera))


def units(aspect: float) -> tuple[float, float]:
    """A unit as a share of the width and of the height; `aspect` is width by height."""
    return (1.0, aspect) if aspect <= 1 else (1 / aspect, 1.0)


def laid_out(scene: Scene, random: Random, aspect: float = 1.0) -> tuple[Spot, ...]:
    """Where everything stands; `aspect` is width by height. What is further away comes first."""
    unit_x, unit_y = units(aspect)
    spots: list[Spot] = []
    for index, thing in enumerate(scene.things):
        kind = KINDS[thing.kind]
        crowd = 1.0 if thing.count == 1 else SCALES["small"]
        height = kind.height * SCALES[thing.size] * crowd
        x = ACROSS[thing.place] + random.choice((-0.5, 0.5)) * STEP
        y = _foot(kind, thing, height, unit_y, random)
        for step_x, step_y in _steps(thing):
            spots.append(Spot(index, x + step_x * unit_x, y + step_y * unit_y, height))
    return tuple(sorted(spots, key=lambda spot: (scene.things[spot.thing].kind != "mountain", spot.y)))


def _foot(kind: Kind, thing: Thing, height: float, unit_y: float, random: Random) -> float:
    if kind.zone == "sky":
        return 0.25 + (height * 0.5 + random.choice((-0.5, 0.5)) * STEP) * unit_y
    if thing.kind == "mountain":
        return HORIZON + 0.01
    return HORIZON + (0.09 + random.choice((0, 1)) * STEP) * unit_y


def _steps(thing: Thing) -> tuple[tuple[float, float], ...]:
    """How far each of a group is from the middle of their foot, in units."""
    if thing.count == 1:
        return ((0.0, 0.0),)
    left, right = (-1.5 * STEP, 0.0), (1.5 * STEP, 0.0)
    return (left, right) if thing.count == 2 else (left, (0.0, -2 * STEP), right)


def moved(scene: Scene, spot: Spot, moment: float, aspect: float = 1.0) -> Spot:
    """Where a thing is at a moment of the clip, from 0.0 to 1.0; half-way it is where `laid_out` put it."""
    motion = scene.motion
    if motion is None:
        return spot
    unit_x, unit_y = units(aspect)
    right, down = (share * (moment - 0.5) for share in TRAVEL[motion.direction])
    if motion.subject == spot.thing:
        return replace(spot, x=spot.x + right * unit_x, y=spot.y + down * unit_y)
    if motion.subject != CAMERA:
        return spot
    zoom = zoomed(motion, moment)
    return replace(
        spot,
        x=0.5 + (spot.x - 0.5) * zoom - right * unit_x,
        y=HORIZON + (spot.y - HORIZON) * zoom,
        height=spot.height * zoom,
    )


def zoomed(motion: Motion, moment: float) -> float:
    """How much larger than half-way through everything is."""
    if motion.subject != CAMERA or motion.direction not in {"in", "out"}:
        return 1.0
    return float(ZOOM ** (moment - 0.5 if motion.direction == "in" else 0.5 - moment))

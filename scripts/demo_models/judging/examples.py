"""Painted scenes for the judge, worn as pictures of a model are: soft, a little off in colour and place, and noisy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.judging.facts import cell_of
from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.scenes import KINDS, Scene, laid_out, random_scene

Floats = NDArray[np.float32]


def pictures(random: Random, count: int, width: int, height: int) -> tuple[Sequence[Scene], Pixels]:
    """Worn pictures, shape (count, height, width, 3), and what is in them."""
    scenes = [crowded(random_scene(random), random) for _ in range(count)]
    painted = (paint(scene, laid_out(scene, random, width / height), width, height) for scene in scenes)
    return scenes, np.stack([worn(picture, random) for picture in painted])


def crowded(scene: Scene, random: Random) -> Scene:
    """Two times out of three with things of other scenes wherever there is room, so that there is more to learn."""
    things = list(scene.things)
    taken = {cell_of(thing) for thing in things} | {thing.kind for thing in things}
    for _ in range(random.choice((0, 3, 6))):
        for thing in random_scene(random).things:
            fits = KINDS[thing.kind].zone != "water" or scene.ground == "sea"
            if fits and not taken & {cell_of(thing), thing.kind}:
                taken |= {cell_of(thing), thing.kind}
                things.append(thing)
    return replace(scene, things=tuple(things))


def worn(picture: Pixels, random: Random) -> Pixels:
    values = picture.astype(np.float32)
    for share, wear in WEARS:
        if random.random() < share:
            values = wear(values, random)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _moved(values: Floats, random: Random) -> Floats:
    height, width = values.shape[:2]
    unit, scale = min(width, height), random.uniform(0.95, 1.06)
    right, down = (random.uniform(-0.03, 0.03) * unit for _ in range(2))
    matrix = np.array(
        [[scale, 0, right + (1 - scale) * width / 2], [0, scale, down + (1 - scale) * height / 2]], np.float32
    )
    return _floats(cv2.warpAffine(values, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))


def _coarse(values: Floats, random: Random) -> Floats:
    height, width = values.shape[:2]
    share = random.uniform(0.5, 1.0)
    small = cv2.resize(values, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return _floats(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _blurred(values: Floats, random: Random) -> Floats:
    return _floats(cv2.GaussianBlur(values, (0, 0), random.uniform(0.3, 1.2)))


def _tinted(values: Floats, random: Random) -> Floats:
    gain = np.array([random.uniform(0.93, 1.07) for _ in range(3)], np.float32)
    return values * gain + random.uniform(-8, 8)


def _blotched(values: Floats, random: Random) -> Floats:
    """Faint blotches of a colour, as a decoder leaves them."""
    height, width = values.shape[:2]
    cells = random.choice((6, 12, 24))
    chance = np.random.default_rng(random.getrandbits(32))
    blotches = chance.normal(0, random.uniform(1, 9), (cells, cells, 3)).astype(np.float32)
    return values + _floats(cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC))


def _noisy(values: Floats, random: Random) -> Floats:
    chance = np.random.default_rng(random.getrandbits(32))
    return values + chance.normal(0, random.uniform(1, 8), values.shape).astype(np.float32)


def _compressed(values: Floats, random: Random) -> Floats:
    picture = np.clip(np.round(values), 0, 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, random.randint(40, 95)])
    return _floats(cv2.imdecode(file, cv2.IMREAD_COLOR))


def _floats(values: object) -> Floats:
    return np.asarray(values, np.float32)


Wear = Callable[[Floats, Random], Floats]
WEARS: tuple[tuple[float, Wear], ...] = (
    (0.4, _moved),
    (0.3, _coarse),
    (0.2, _blurred),
    (0.6, _tinted),
    (0.25, _blotched),
    (0.25, _noisy),
    (0.15, _compressed),
)
"""Each with the share of the pictures that it befalls, in this order."""

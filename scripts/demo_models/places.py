"""Where the things of a scene are, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.scenes import COLOURS, KINDS, Scene, Spot, units

KIND_NAMES = tuple(KINDS)
COLOUR_NAMES = tuple(COLOURS)
NOTHING = 0

HALF_WIDTHS = {"cloud": 0.95, "gull": 0.95, "plane": 1.1, "bridge": 1.3, "mountain": 0.6, "house": 0.5, "tent": 0.5}


def cells(scene: Scene, spots: Sequence[Spot], columns: int, rows: int, aspect: float = 1.0) -> NDArray[np.int64]:
    """Shape (2, rows, columns): the kind of the thing at the middle of each cell, and its colour; from 1, or 0."""
    unit_x, unit_y = units(aspect)
    found = np.zeros((2, rows, columns), np.int64)
    across, down = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    for spot in spots:
        thing = scene.things[spot.thing]
        half = HALF_WIDTHS.get(thing.kind, 0.36) * spot.height * unit_x
        inside_x = np.abs(across - spot.x) <= half
        inside_y = (down <= spot.y) & (down >= spot.y - spot.height * unit_y)
        inside = inside_y[:, None] & inside_x[None, :]
        found[0][inside] = KIND_NAMES.index(thing.kind) + 1
        found[1][inside] = COLOUR_NAMES.index(thing.colour) + 1
    return found

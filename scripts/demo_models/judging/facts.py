"""What the judge says about a picture: one kind of thing, at most, in each third of the sky and of the ground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.demo_models.scenes import (
    ACROSS,
    COLOURS,
    HORIZON,
    KINDS,
    PLACES,
    SIZES,
    Place,
    Thing,
    units,
)

NOTHING = "nothing"
Row = str
ROWS: tuple[Row, ...] = ("sky", "ground")
CELLS: tuple[tuple[Row, Place], ...] = tuple((row, place) for row in ROWS for place in PLACES)

CELL_FACTS: dict[str, tuple[str | int, ...]] = {
    "kind": (NOTHING, *KINDS),
    "colour": tuple(COLOURS),
    "size": SIZES,
    "count": (1, 2, 3),
}
"""What may be answered to each question about a cell."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture in the judge's words; `things` holds one entry for each cell that has something in it."""

    things: tuple[Thing, ...]
    time: str
    ground: str
    weather: str
    style: str


def row_of(thing: Thing) -> Row:
    return "sky" if KINDS[thing.kind].zone == "sky" else "ground"


def cell_of(thing: Thing) -> int:
    return CELLS.index((row_of(thing), thing.place))


def cell_windows(aspect: float) -> Iterator[tuple[float, float, float, float]]:
    """Where a cell's things are drawn: middle and size, as shares of width and height; `aspect` is width by height.

    As `scenes.laid_out` puts them: what flies around a quarter of the height, what stands a little below the horizon.
    """
    unit_x, unit_y = units(aspect)
    for row, place in CELLS:
        middle = 0.25 if row == "sky" else HORIZON - 0.1 * unit_y
        yield ACROSS[place], middle, 0.5 * unit_x, 0.56 * unit_y

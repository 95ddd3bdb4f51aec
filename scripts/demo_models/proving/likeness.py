"""How alike two pictures are."""

from __future__ import annotations

import numpy as np

from scripts.demo_models.measuring import smaller
from scripts.demo_models.painting import Pixels

SIDE = 64


def correlation(one: Pixels, other: Pixels) -> float:
    """Pearson's, of all values of both at 64 pixels; 1 for equal pictures, 0 for unrelated ones."""
    first, second = (smaller(picture, SIDE).astype(float).ravel() for picture in (one, other))
    return float(np.corrcoef(first, second)[0, 1])

"""JSON as the other side's JavaScript and PostgreSQL read it."""

from __future__ import annotations

import json
import math
from typing import Any


def parse_json(body: bytes | str) -> Any:
    """The value of a JSON text.

    Raises `ValueError` for what is no JSON elsewhere either: `NaN`, numbers without end, endless nesting.
    """
    try:
        return json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits[:20])

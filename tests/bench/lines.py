"""Line charts as SVG, drawn by hand, over logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 300, 70, 190, 44, 44
INK, GUIDE = "#222", "#ddd"
COLOURS = ("#1f5fa8", "#b3541e", "#2f7d4f", "#7a3e9d", "#777")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines through points whose both values are above 0, by the name of each line."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[Point]]


def line_charts(charts: Sequence[Chart]) -> str:
    """An SVG document with the charts below each other."""
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * len(charts)}"'
    drawn = [
        f'<g transform="translate(0 {HEIGHT * index})">{"".join(_drawn(chart))}</g>'
        for index, chart in enumerate(charts)
    ]
    head = f'<svg {frame} font-family="sans-serif" font-size="11" fill="{INK}">'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT * len(charts)}" fill="white"/>'
    return "\n".join([head, ground, *drawn, "</svg>\n"])


class _Axis:
    """Whole powers of ten around all values, between two places of the drawing."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        return self._begin + (self._end - self._begin) * (math.log10(value) - self._low) / (self._high - self._low)

    @property
    def marks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def _drawn(chart: Chart) -> list[str]:
    points = [point for line in chart.lines.values() for point in line]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x, y = _Axis([point[0] for point in points], LEFT, right), _Axis([point[1] for point in points], bottom, TOP)
    return [
        f'<text x="12" y="20" font-size="13">{escape(chart.title)}</text>',
        f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(chart.across)}</text>',
        f'<text x="{LEFT}" y="{TOP - 10}" text-anchor="middle">{escape(chart.up)}</text>',
        *(
            f'<path d="M{x(mark):.1f} {TOP}V{bottom}" stroke="{GUIDE}"/>'
            f'<text x="{x(mark):.1f}" y="{bottom + 16}" text-anchor="middle">{_plain(mark)}</text>'
            for mark in x.marks
        ),
        *(
            f'<path d="M{LEFT} {y(mark):.1f}H{right}" stroke="{GUIDE}"/>'
            f'<text x="{LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{_plain(mark)}</text>'
            for mark in y.marks
        ),
        *(
            _line(name, [(x(across), y(up)) for across, up in line], index)
            for index, (name, line) in enumerate(chart.lines.items())
        ),
    ]


def _line(name: str, places: Sequence[Point], index: int) -> str:
    colour = COLOURS[index % len(COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
    label = TOP + 16 * index + 8
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'
        f'<rect x="{WIDTH - RIGHT + 14}" y="{label - 8}" width="10" height="10" fill="{colour}"/>'
        f'<text x="{WIDTH - RIGHT + 30}" y="{label + 1}">{escape(name)}</text>'
    )


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"

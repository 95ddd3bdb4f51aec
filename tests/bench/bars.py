"""A bar chart as SVG, drawn by hand, over a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

WIDTH, BAR, GAP, LEFT, RIGHT, TOP = 760, 18, 12, 220, 70, 40
INK, FILL, GUIDE = "#222", "#1f5fa8", "#ccc"


def bar_chart(title: str, values: Mapping[str, float], unit: str = "s") -> str:
    """An SVG document with a bar for each value, in seconds unless another unit is named; 0 has no length."""
    positive = [value for value in values.values() if value > 0] or [1.0]
    low = math.floor(math.log10(min(positive)))
    high = max(math.ceil(math.log10(max(positive))), low + 1)
    height = TOP + len(values) * (BAR + GAP) + 24

    def across(value: float) -> float:
        if value <= 0:
            return LEFT
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(value) - low) / (high - low)

    guides = [
        f'<path d="M{across(10**power):.1f} {TOP - 8}V{height - 22}" stroke="{GUIDE}"/>'
        f'<text x="{across(10**power):.1f}" y="{height - 8}" text-anchor="middle">{10**power:g} {unit}</text>'
        for power in range(low, high + 1)
    ]
    bars = [
        f'<text x="{LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{across(value) - LEFT:.1f}" height="{BAR}" fill="{FILL}"/>'
        f'<text x="{across(value) + 6:.1f}" y="{top + 13}">{value:.3g}</text>'
        for top, (name, value) in zip(range(TOP, height, BAR + GAP), values.items(), strict=False)
    ]
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg {frame} font-family="sans-serif" font-size="11" fill="{INK}">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="12" y="20" font-size="13">{escape(title)}</text>',
            *guides,
            *bars,
            "</svg>\n",
        ]
    )

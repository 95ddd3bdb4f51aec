"""Line plots as SVG, drawn by hand: one panel for each series, over a common x axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 760, 110, 70, 20, 40, 34
INK, LINE, GUIDE = "#222", "#1f5fa8", "#bbb"

Points = Sequence[tuple[float, float]]


def line_plot(title: str, x_label: str, series: Mapping[str, Points], *, mark: float) -> str:
    """An SVG document; a dashed line at x = `mark` separates the warm-up."""
    height = TOP + len(series) * (PANEL + GAP) + 10
    panels = [
        _panel(name, points, TOP + row * (PANEL + GAP), mark) for row, (name, points) in enumerate(series.items())
    ]
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg {frame} font-family="sans-serif" font-size="11" fill="{INK}">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
            *panels,
            f'<text x="{WIDTH - RIGHT}" y="{height - 4}" text-anchor="end">{escape(x_label)}</text>',
            "</svg>\n",
        ]
    )


def _panel(name: str, points: Points, top: float, mark: float) -> str:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(ys), max(ys)
    margin = (high - low) * 0.1 or max(abs(high) * 0.1, 1.0)
    low, high = max(0.0, low - margin), high + margin
    wide = max(xs) or 1.0

    def across(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / wide

    def down(y: float) -> float:
        return top + PANEL * (high - y) / (high - low)

    line = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
    bottom = top + PANEL
    return "\n".join(
        [
            f'<text x="{LEFT}" y="{top - 5}">{escape(name)}</text>',
            f'<path d="M{LEFT} {top}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="{GUIDE}"/>',
            f'<path d="M{across(mark):.1f} {top}V{bottom}" stroke="{GUIDE}" stroke-dasharray="3 3"/>',
            *(
                f'<text x="{LEFT - 6}" y="{down(y) + 4:.1f}" text-anchor="end">{y:.4g}</text>'
                for y in (low, (low + high) / 2, high)
            ),
            *(
                f'<text x="{across(x):.1f}" y="{bottom + 14}" text-anchor="middle">{x:.0f}</text>'
                for x in (0, wide / 2, wide)
            ),
            f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="1.5"/>',
        ]
    )

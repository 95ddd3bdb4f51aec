"""When things were busy, as SVG, drawn by hand: a row for each thing, a block for each busy time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, BAR, GAP, LEFT, RIGHT, TOP, BOTTOM = 960, 16, 8, 300, 60, 44, 28
INK, BUSY, IDLE, GUIDE = "#222", "#1f5fa8", "#f2c9c0", "#ccc"
GUIDES = 10

Spans = Sequence[tuple[float, float]]
"""Busy times from and to, in seconds."""


def timeline(title: str, rows: Mapping[str, Spans], *, notes: Mapping[str, str]) -> str:
    """An SVG document: each row from the beginning of its first busy time to the beginning of its last one.

    `notes` are written behind the rows. Rows need two busy times at least.
    """
    lasting = {name: (spans[0][0], spans[-1][0]) for name, spans in rows.items()}
    longest = max(end - begin for begin, end in lasting.values())
    height = TOP + len(rows) * (BAR + GAP) + BOTTOM

    def wide(seconds: float) -> float:
        return (WIDTH - LEFT - RIGHT) * seconds / longest

    drawn = []
    for top, (name, spans) in zip(range(TOP, height, BAR + GAP), rows.items(), strict=False):
        begin, end = lasting[name]
        drawn.append(f'<text x="{LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>')
        drawn.append(_block(LEFT, top, wide(end - begin), IDLE))
        drawn += [
            _block(LEFT + wide(busy_from - begin), top, wide(busy_to - busy_from), BUSY)
            for busy_from, busy_to in spans[:-1]
        ]
        note = escape(notes.get(name, ""))
        drawn.append(f'<text x="{LEFT + wide(end - begin) + 6:.2f}" y="{top + 12}">{note}</text>')
    guides = [
        f'<path d="M{LEFT + wide(longest * part / GUIDES):.1f} {TOP - 8}V{height - BOTTOM}" stroke="{GUIDE}"/>'
        f'<text x="{LEFT + wide(longest * part / GUIDES):.1f}" y="{height - 10}" text-anchor="middle">'
        f"{longest * part / GUIDES:.3g} s</text>"
        for part in range(GUIDES + 1)
    ]
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg {frame} font-family="sans-serif" font-size="11" fill="{INK}">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="12" y="20" font-size="13">{escape(title)}</text>',
            *guides,
            *drawn,
            "</svg>\n",
        ]
    )


def _block(left: float, top: float, width: float, colour: str) -> str:
    return f'<rect x="{left:.2f}" y="{top}" width="{width:.2f}" height="{BAR}" fill="{colour}"/>'

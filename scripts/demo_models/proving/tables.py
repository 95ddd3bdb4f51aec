"""What the proof found: as JSON for programs, as Markdown for people, and as a picture of bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.sax.saxutils import escape

from scripts.demo_models.judging.adherence import ATTRIBUTES, OF_THINGS, Score

WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 760, 120, 90, 64, 9, 12
INK, GUIDE = "#222", "#ddd"
FILLS = ("#1f5fa8", "#8fb6dc", "#e0a030", "#b8b8b8")


COLUMNS = (
    "attribute",
    "right means",
    "asked",
    "right %",
    "95 % interval",
    "where the thing is there %",
    "guidance 1 %",
    "chance %",
    "judge on painted scenes %",
)


@dataclass(frozen=True, slots=True)
class Adherence:
    """Scores by attribute of what was drawn.

    `where_there` are those of things that are in the picture at all, `without_guidance` those at guidance 1, `painted`
    what the judge makes of the painted scenes themselves, and `chance` what it makes of pictures of other prompts.
    """

    drawn: Mapping[str, Score]
    where_there: Mapping[str, Score]
    without_guidance: Mapping[str, Score]
    painted: Mapping[str, Score]
    chance: Mapping[str, Score]


@dataclass(frozen=True, slots=True)
class Effect:
    """What an option does: a figure without it and with it, over so many pictures or clips."""

    option: str
    measured: str
    without: float
    with_it: float
    count: int
    unit: str = "%"


def as_json(adherence: Adherence, effects: Sequence[Effect]) -> dict[str, Any]:
    return {
        "adherence": {
            name: {
                "asked": score.asked,
                "right": score.right,
                "percent": percent(score),
                "interval": [round(100 * edge, 1) for edge in score.interval],
                "where_there": percent(adherence.where_there.get(name)) if name in (*OF_THINGS, "motion") else None,
                "guidance_1": percent(adherence.without_guidance.get(name)),
                "painted": percent(adherence.painted.get(name)),
                "chance": percent(adherence.chance.get(name)),
            }
            for name, score in adherence.drawn.items()
        },
        "effects": [asdict(effect) for effect in effects],
    }


def percent(score: Score | None) -> float | None:
    return None if score is None or not score.asked else round(100 * score.share, 1)


def as_markdown(report: Mapping[str, Any]) -> str:
    """Of what `as_json` makes."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| --- | --- |{' ---: |' * (len(COLUMNS) - 2)}"]
    for name, row in report["adherence"].items():
        low, high = row["interval"]
        lines.append(
            f"| {name} | {ATTRIBUTES[name]} | {row['asked']} | **{_cell(row['percent'])}** | {low} to {high} |"
            f" {_cell(row['where_there'])} | {_cell(row['guidance_1'])} | {_cell(row['chance'])} |"
            f" {_cell(row['painted'])} |"
        )
    if report["effects"]:
        lines += ["", "| option | measured as | without | with | of |", "| --- | --- | ---: | ---: | ---: |"]
        lines += [
            f"| {row['option']} | {row['measured']} | {_figure(row['without'], row['unit'])} |"
            f" {_figure(row['with_it'], row['unit'])} | {row['count']} |"
            for row in report["effects"]
        ]
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _figure(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.2f} {unit}".strip()


def as_chart(title: str, report: Mapping[str, Any], aim: float) -> str:
    """An SVG document: four bars for each attribute, and a line where it is meant to be."""
    series = (
        ("percent", "drawn"),
        ("painted", "judge on painted scenes"),
        ("guidance_1", "guidance 1"),
        ("chance", "chance"),
    )
    rows = report["adherence"]
    block = len(series) * BAR + GAP
    height = TOP + len(rows) * block + 28

    def across(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / 100

    parts = [
        f'<path d="M{across(value):.1f} {TOP - 6}V{height - 24}" stroke="{GUIDE}"/>'
        f'<text x="{across(value):.1f}" y="{height - 10}" text-anchor="middle">{value} %</text>'
        for value in (0, 25, 50, 75, 100)
    ]
    parts.append(f'<path d="M{across(100 * aim):.1f} {TOP - 6}V{height - 24}" stroke="{INK}" stroke-dasharray="4 3"/>')
    for place, ((_, name), fill) in enumerate(zip(series, FILLS, strict=True)):
        x = LEFT + place * 165
        parts.append(
            f'<rect x="{x}" y="34" width="10" height="10" fill="{fill}"/><text x="{x + 15}" y="43">{name}</text>'
        )
    for place, (name, row) in enumerate(rows.items()):
        top = TOP + place * block
        parts.append(
            f'<text x="{LEFT - 8}" y="{top + len(series) * BAR / 2 + 4}" text-anchor="end">{escape(name)}</text>'
        )
        for line, ((key, _), fill) in enumerate(zip(series, FILLS, strict=True)):
            value = row[key]
            if value is not None:
                y = top + line * BAR
                parts.append(
                    f'<rect x="{LEFT}" y="{y}" width="{across(value) - LEFT:.1f}" height="{BAR - 1}" fill="{fill}"/>'
                )
        if row["percent"] is not None:
            parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{top + 8}">{row["percent"]:.1f} %</text>')
    frame = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    return "\n".join(
        [
            f'<svg {frame} font-family="sans-serif" font-size="11" fill="{INK}">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="12" y="20" font-size="13">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )

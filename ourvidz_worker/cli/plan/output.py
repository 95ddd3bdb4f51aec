"""A plan for a person, and for a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ourvidz_worker.cli.plan.sizing import Part, Size, Unfit

BAR = 30  # letters


def answer(best: Size | None, jobs_per_hour: float) -> str:
    """One sentence."""
    if best is None:
        return "no card of the list can do this"
    pods = "one pod" if best.pods == 1 else f"{best.pods} pods"
    return (
        f"{jobs_per_hour:g} jobs an hour need {pods} with one {best.card.name} each: {best.usd_per_hour:.2f} USD an "
        f"hour, {best.usd_per_hour / jobs_per_hour:.4f} USD a job; 95 of 100 jobs begin within {best.wait:.0f} s"
    )


def print_plan(
    sizes: Sequence[Size], unfit: Sequence[Unfit], parts: Sequence[Part], *, sentence: str, notes: Sequence[str]
) -> None:
    """`sizes` from the cheapest on."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    if sizes:
        console.print(_table(sizes, parts))
    for miss in unfit:
        console.print(f"{escape(miss.card.name)}: {escape(miss.reason)}")
    for note in notes:
        console.print(escape(note))
    console.print(f"[bold]{escape(sentence)}[/]")


def as_json(
    sizes: Sequence[Size], unfit: Sequence[Unfit], parts: Sequence[Part], *, sentence: str, notes: Sequence[str]
) -> dict[str, Any]:
    return {
        "answer": sentence,
        "notes": list(notes),
        "jobs_per_hour": {part.job_type.name: part.per_hour for part in parts},
        "cards": [
            {
                "card": size.card.key,
                "name": size.card.name,
                "pods": size.pods,
                "busy": round(size.busy, 4),
                "wait_95_seconds": round(size.wait, 2),
                "usd_per_hour": round(size.usd_per_hour, 4),
                "usd_per_job": {name: round(usd, 6) for name, usd in size.usd_per_job.items()},
                "models_swapped": size.swaps,
            }
            for size in sizes
        ],
        "unfit": [{"card": miss.card.key, "reason": miss.reason} for miss in unfit],
    }


def _table(sizes: Sequence[Size], parts: Sequence[Part]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("card")
    for name in ("pods", "busy", "wait", "USD/h"):
        table.add_column(name, justify="right")
    table.add_column("")
    for part in parts:
        table.add_column(f"USD/{part.job_type.name}", justify="right")
    dearest = max(size.usd_per_hour for size in sizes)
    for size in sizes:
        table.add_row(
            size.card.name + (" *" if size.swaps else ""),
            str(size.pods),
            f"{size.busy:.0%}",
            f"{size.wait:.0f} s",
            f"{size.usd_per_hour:.2f}",
            "█" * max(1, round(BAR * size.usd_per_hour / dearest)),
            *(f"{size.usd_per_job[part.job_type.name]:.4f}" for part in parts),
        )
    if any(size.swaps for size in sizes):
        table.caption = "* the models do not fit on the card together: idle ones wait in the host's memory"
        table.caption_justify = "left"
    return table

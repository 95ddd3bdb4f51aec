"""The findings for a person and for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis


def print_json(diagnoses: Sequence[Diagnosis], mended: Sequence[str], *, healthy: bool) -> None:
    findings = [_as_json(diagnosis) for diagnosis in diagnoses]
    print(json.dumps({"ok": healthy, "mended": list(mended), "findings": findings}, indent=2))


def print_report(diagnoses: Sequence[Diagnosis], mended: Sequence[str], *, healthy: bool) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for sentence in mended:
        console.print(f"[green]fix[/]  {escape(sentence)}")
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in diagnoses:
        bad = "[red]problem[/]" if item.fatal else "[yellow]note[/]"
        mark = "[green]ok[/]" if item.finding.ok else bad
        cure = "" if item.finding.ok else f"\n[bold]cure:[/] {escape(item.finding.cure)}"
        table.add_row(mark, item.area, escape(item.finding.sentence) + cure)
    console.print(table)
    console.print("a worker can run" if healthy else "a worker could not run")


def _as_json(item: Diagnosis) -> dict[str, object]:
    finding = item.finding
    return {"area": item.area, "ok": finding.ok, "fatal": item.fatal, "finding": finding.sentence, "cure": finding.cure}

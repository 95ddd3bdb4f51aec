"""A run as one table for people and as JSON for programs; reports name what made them."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ourvidz_worker import __version__
from tests.support.commands import ROOT

LIBRARIES = ("httpx", "upstash-redis", "supabase", "numpy", "pillow", "av")


def provenance(module: str) -> dict[str, Any]:
    """Command line, moment, versions and machine."""
    server = shutil.which("redis-server")
    redis = server and subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    return {
        "command": [module, *sys.argv[1:]],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "ourvidz_worker": __version__,
            "commit": commit.strip() or None,
            "python": platform.python_version(),
            "redis": redis,
            **{name: _installed(name) for name in LIBRARIES},
        },
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _installed(name: str) -> str | None:
    """A benchmark of models runs where the network's libraries are missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write(report: Mapping[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def print_sections(sections: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """One table with a section for each group of figures."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for title, figures in sections.items():
        table.add_row(f"[bold]{title}[/]", "", end_section=False)
        for name, value in figures.items():
            table.add_row(f"  {name}", str(value))
    console.print(table)


def violation_figures(violations: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return {rule: f"[red]{len(found)}[/]" if found else "[green]0[/]" for rule, found in violations.items()}

"""Where the figures of a benchmark go, and the machine that they are of."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pynvml

from tests.chaos import report
from tests.support.commands import ROOT

REPORTS = ROOT / "scripts" / "bench" / "reports"


def write_report(
    name: str, figures: Mapping[str, Any], *, command: str | Sequence[str], folder: Path = REPORTS
) -> Path:
    """Write `<name>.json` with the command, the date, the versions and the machine, and return its path.

    `command` is the line that a person types, or its words. Called at the end of a run, on the machine that it ran on.
    """
    file = folder / f"{name}.json"
    line = command if isinstance(command, str) else shlex.join(command)
    report.write({**report.provenance(name), "command": line, "machine": machine(), **figures}, file)
    return file


def write_plot(name: str, drawing: str, *, folder: Path = REPORTS) -> Path:
    """Write the drawing, an SVG document, as `<name>.svg` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.svg"
    file.write_text(drawing, encoding="utf-8")
    return file


def machine() -> dict[str, Any]:
    """The processor, how many cores this process may use, its load over a minute, and the cards, without torch."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load": round(os.getloadavg()[0], 2),
        "gpu": _cards() or "none",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _cards() -> list[str]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [
            f"{pynvml.nvmlDeviceGetName(handle)}, driver {pynvml.nvmlSystemGetDriverVersion()}" for handle in handles
        ]
    finally:
        pynvml.nvmlShutdown()

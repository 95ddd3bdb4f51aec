"""Workers that run on this machine already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, note

_WORKERS = ("sdxl", "wan", "qwen")
_KEEPER = "orchestrator"


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    words: tuple[str, ...]


def examine_processes(proc: Path = Path("/proc")) -> Iterator[Diagnosis]:
    """A worker without its orchestrator holds memory of the card, and takes jobs that nobody hands back at once."""
    processes = {process.pid: process for process in _processes(proc)}
    for process in processes.values():
        kind = _worker_of(process.words)
        keeper = processes.get(process.parent)
        if kind is not None and not (keeper and _KEEPER in " ".join(keeper.words)):
            sentence = f"a {kind} worker runs without an orchestrator (process {process.pid})"
            yield note("processes", sentence, f"where it is not meant to run alone, stop it: kill {process.pid}")


def _worker_of(words: tuple[str, ...]) -> str | None:
    """As the orchestrator starts it: `python -m ourvidz_worker sdxl`."""
    for module, kind in pairwise(words):
        if module == "ourvidz_worker" and kind in _WORKERS:
            return kind
    return None


def _processes(proc: Path) -> Iterator[Process]:
    """Of this user alone; others' are not ours to judge."""
    if not proc.is_dir():
        return
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if folder.stat().st_uid != os.geteuid():
                continue
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            # The name stands in parentheses and may hold anything.
            parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it ended just now
        yield Process(int(folder.name), parent, tuple(words))

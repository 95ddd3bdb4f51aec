"""What a process and its children have cost so far, from outside, by Linux' own accounts."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Stat:
    """The fields of `/proc/<pid>/stat` that are of use here; times in ticks, memory in pages."""

    pid: int
    parent: int
    ticks: int
    pages: int


def processor_seconds(root: int) -> float:
    """Seconds of user and system time of a process and all that came from it, those that ended included."""
    return sum(stat.ticks for stat in _family(root)) / _TICK


def resident_bytes(root: int) -> int:
    """Memory of a process and those of its children that live; what they share counts for each."""
    return sum(stat.pages for stat in _family(root)) * _PAGE


@contextlib.contextmanager
def frozen(root: int) -> Iterator[None]:
    """A process and its children stand still until the block ends."""
    pids = [stat.pid for stat in _family(root)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _family(root: int) -> list[_Stat]:
    stats = {stat.pid: stat for stat in _all()}
    family = [root]
    for pid in family:  # grows while it is read
        family += [stat.pid for stat in stats.values() if stat.parent == pid]
    return [stats[pid] for pid in family if pid in stats]


def _all() -> Iterator[_Stat]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                # The name of a program stands in brackets and may hold any characters.
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                yield _Stat(
                    pid=int(folder.name),
                    parent=int(fields[1]),
                    ticks=sum(map(int, fields[11:15])),
                    pages=int(fields[21]),
                )

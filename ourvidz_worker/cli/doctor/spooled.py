"""What lies in the spool: results on their way, and those that wait for a person."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, counted, note
from ourvidz_worker.runtime.reaper import KEPT_SECONDS
from ourvidz_worker.runtime.spool import Spool

_STALE = 3600.0  # seconds; a delivery is tried for minutes


def examine_spool(folder: Path) -> Iterator[Diagnosis]:
    """Nothing is removed: a result is a GPU's minutes."""
    try:
        parked = Spool(folder).parked()
        stale = _stale(folder / "results")
    except OSError:
        return  # the findings about the disk say so
    if parked:
        sentence = f"{counted(len(parked), 'result')} that the product refused parked in {folder}"
        yield note("aside", sentence, "see `ourvidz-worker queue parked list`, then resend or drop")
    if stale:
        days = KEPT_SECONDS / 86400
        since = f"the oldest for {stale[0] / 3600:.0f} h"
        sentence = f"{counted(len(stale), 'finished result')} not delivered in {folder}, {since}"
        cure = f"a worker delivers them when their jobs come back; what stays is removed after {days:g} days"
        yield note("aside", sentence, cure)


def _stale(results: Path) -> list[float]:
    """Ages in seconds, the oldest first."""
    if not results.is_dir():
        return []
    now = time.time()
    ages = (now - entry.stat().st_mtime for entry in results.iterdir() if not entry.name.startswith("."))
    return sorted((age for age in ages if age > _STALE), reverse=True)

"""`scripts/soak`: many small jobs through one real worker, and what of memory, files and threads grows with them."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tests.chaos import report
from tests.chaos.far_side import FarSide, far_side
from tests.chaos.plan import recordings, small
from tests.chaos.plot import line_plot
from tests.support.commands import RunningCommand

WARM_UP_SHARE = 0.2
BACKLOG = 8
LOOK_SECONDS = 0.05
STALLED_SECONDS = 300.0
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker after so many jobs: memory in bytes, open files, threads, files in its temporary folders.

    `proportional` shares each page among the processes that map it, so it also moves with other processes.
    """

    jobs: int
    resident: int
    proportional: int
    open_files: int
    threads: int
    temporary_files: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What is taken for growth: bytes for each job after the warm-up, and things more at the end than after it."""

    bytes_per_job: float
    open_files: int = 4
    threads: int = 4 + (os.cpu_count() or 1)  # what asyncio's pool may still start after the warm-up
    temporary_files: int = 0


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True)
    limits = Limits(arguments.limit)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    begun = time.monotonic()
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            samples = asyncio.run(_soak(arguments, folder, live))
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    result = {
        **report.provenance("scripts/soak"),
        "jobs": arguments.jobs,
        "models": arguments.models,
        "worker": arguments.worker,
        "seconds": round(time.monotonic() - begun, 1),
        **assess(samples, limits),
        "samples": [asdict(sample) for sample in samples],
    }
    if arguments.report:
        report.write(result, arguments.report)
    if arguments.plot:
        arguments.plot.parent.mkdir(parents=True, exist_ok=True)
        arguments.plot.write_text(_plot(samples, result), encoding="utf-8")
    growth = {name: f"{value['grew']:+g} (limit {value['limit']:g})" for name, value in result["growth"].items()}
    figures = {name: result[name] for name in ("jobs", "models", "worker", "seconds", "samples_after_warm_up")}
    report.print_sections({"soak": figures, "growth": growth, "verdict": {"ok": result["ok"]}}, console)
    return 0 if result["ok"] else 1


def assess(samples: Sequence[Sample], limits: Limits) -> dict[str, Any]:
    """The growth after the warm-up against its limits; `ok` when nothing grew beyond."""
    warm = [sample for sample in samples if sample.jobs >= WARM_UP_SHARE * samples[-1].jobs]
    first, last = warm[0], warm[-1]
    growth = {
        "resident bytes per job": (slope([(s.jobs, s.resident) for s in warm]), limits.bytes_per_job),
        "open files": (last.open_files - first.open_files, limits.open_files),
        "threads": (last.threads - first.threads, limits.threads),
        "temporary files left": (last.temporary_files, limits.temporary_files),
    }
    return {
        "ok": all(grew <= limit for grew, limit in growth.values()),
        "growth": {name: {"grew": round(grew, 1), "limit": limit} for name, (grew, limit) in growth.items()},
        "samples_after_warm_up": len(warm),
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares through (x, y); 0 through a single x."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


async def _soak(arguments: argparse.Namespace, folder: Path, live: Live) -> list[Sample]:
    async with far_side(folder / "backend", proxies=0) as far:
        temporary, spool = folder / "tmp", folder / "spool"
        temporary.mkdir()
        environment = {
            **far.backend.environment(),
            "OURVIDZ_MODELS": arguments.models,
            "OURVIDZ_SDXL_POLL": "0.1",
            "OURVIDZ_WAN_POLL": "0.1",
            "OURVIDZ_SPOOL": str(spool),
            "OURVIDZ_LOG_LEVEL": "warning",
            "TMPDIR": str(temporary),
        }
        with RunningCommand(["-m", "ourvidz_worker", arguments.worker], environment) as worker:
            samples = await _go_on(arguments, far, worker, (temporary, spool), live)
            # Nothing is under way now, so what lies around was forgotten.
            await asyncio.to_thread(worker.stop)
            samples.append(_with_files(samples[-1], (temporary, spool)))
        return samples


async def _go_on(
    arguments: argparse.Namespace, far: FarSide, worker: RunningCommand, folders: Sequence[Path], live: Live
) -> list[Sample]:
    dice = random.Random(arguments.seed)
    stills = [payload for payload in recordings() if _fits(payload, arguments.worker)]
    samples: list[Sample] = []
    submitted = done = 0
    moved_at = time.monotonic()
    while done < arguments.jobs:
        while submitted < arguments.jobs and submitted - done < BACKLOG:
            await far.backend.submit(small(dice.choice(stills), dice, images=dice.choice((1, 1, 3))))
            submitted += 1
        await asyncio.sleep(LOOK_SECONDS)
        over = submitted - far.unfinished()
        if over > done:
            done, moved_at = over, time.monotonic()
            if not samples or done - samples[-1].jobs >= arguments.every or done == arguments.jobs:
                samples.append(_sample(worker.process.pid, done, folders))
        if worker.process.poll() is not None or time.monotonic() - moved_at > STALLED_SECONDS:
            raise RuntimeError(f"the worker came to a halt after {done} jobs:\n{worker.log()[-4000:]}")
        if live.console.is_terminal:
            memory = f", {samples[-1].resident / MIB:.0f} MiB" if samples else ""
            live.update(Text(f"{done} of {arguments.jobs} jobs{memory}"), refresh=True)
    failed = [row for row in far.rows("jobs") if row["status"] != "completed"]
    if failed:
        raise RuntimeError(f"{len(failed)} jobs did not complete, the first because: {failed[0]['error_message']}")
    return samples


def _sample(pid: int, jobs: int, folders: Sequence[Path]) -> Sample:
    process = Path(f"/proc/{pid}")
    return Sample(
        jobs=jobs,
        resident=_kilobytes(process / "status", "VmRSS") * 1024,
        proportional=_kilobytes(process / "smaps_rollup", "Pss") * 1024,
        open_files=len(list((process / "fd").iterdir())),
        threads=len(list((process / "task").iterdir())),
        temporary_files=_files_in(folders),
    )


def _with_files(sample: Sample, folders: Sequence[Path]) -> Sample:
    return Sample(**{**asdict(sample), "temporary_files": _files_in(folders)})


def _files_in(folders: Sequence[Path]) -> int:
    """Folders may go while they are looked through."""
    return sum(len(files) for folder in folders for _, _, files in os.walk(folder))


def _kilobytes(file: Path, name: str) -> int:
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


def _fits(payload: dict[str, Any], worker: str) -> bool:
    name = str(payload.get("type") or payload["job_type"])
    with_references = any("reference" in key for key in (*payload, *payload["metadata"], *payload["config"]))
    return name.startswith("sdxl") == (worker == "sdxl") and "video" not in name and not with_references


def _plot(samples: Sequence[Sample], result: dict[str, Any]) -> str:
    title = f"{result['jobs']} jobs, {result['models']} models, {result['worker']} worker"
    series = {
        "resident memory, MiB": [(s.jobs, s.resident / MIB) for s in samples],
        "proportional memory, MiB": [(s.jobs, s.proportional / MIB) for s in samples],
        "open files": [(s.jobs, float(s.open_files)) for s in samples],
        "threads": [(s.jobs, float(s.threads)) for s in samples],
    }
    return line_plot(title, "jobs", series, mark=WARM_UP_SHARE * samples[-1].jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="how many jobs (default: %(default)s)")
    parser.add_argument("--models", choices=("tiny", "testcard"), default="tiny", help="(default: %(default)s)")
    parser.add_argument("--worker", choices=("sdxl", "wan"), default="sdxl", help="(default: %(default)s)")
    parser.add_argument("--every", type=int, default=10, help="jobs between two samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which jobs (default: %(default)s)")
    parser.add_argument(
        "--limit", type=float, default=8192.0, metavar="BYTES", help="memory per job (default: %(default)g)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write figures and samples as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the samples as SVG")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    return parser


if __name__ == "__main__":
    sys.exit(main())

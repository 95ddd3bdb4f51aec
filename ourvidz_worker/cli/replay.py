"""`replay`: recorded payloads through real workers against the embedded backend, as CI does it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from ourvidz_worker.cli.chosen import chosen_catalogue
from ourvidz_worker.cli.plain import printable
from ourvidz_worker.cli.recorded import Recording, run_recordings, submit_recording
from ourvidz_worker.cli.report import build_report, print_table, write_report
from ourvidz_worker.cli.rig import Progress, families_of, running_rig, scratch_folder


def run(arguments: argparse.Namespace) -> int:
    return run_recordings(arguments, _replay)


async def _replay(recordings: list[Recording], arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    catalogue = chosen_catalogue()
    workers = families_of(recordings, catalogue)
    with scratch_folder() as data:
        async with running_rig(
            catalogue=catalogue,
            workers=workers,
            data=Path(data),
            redis_url=arguments.redis,
            profile=arguments.profile,
        ) as rig:
            console.print(str(rig.selected), highlight=False, markup=False, soft_wrap=True)
            job_ids = [await submit_recording(recording, rig.backend) for recording in recordings]
            lines = ChangeLines(console)
            finished = await rig.watch(job_ids, lines.show, seconds=arguments.timeout)
            report = build_report(rig.backend, job_ids)
    if arguments.report:
        write_report(report, arguments.report)
    print_table(report, Console())
    if not finished:
        print("gave up before every job was over; the log above says why", file=sys.stderr)
    return 0 if report["ok"] else 1


class ChangeLines:
    """One line whenever a job's status or phase changes, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, tuple[str, str]] = {}

    def show(self, jobs: list[Progress]) -> None:
        for job in jobs:
            now = (job.status, job.phase)
            if self._last.get(job.id) != now:
                self._last[job.id] = now
                self._console.print(
                    printable(f"{job.id}  {job.type}  {job.status}  {job.phase}{job.message}"),
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )

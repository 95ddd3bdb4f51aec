"""`demo`: recorded jobs of every type on the embedded backend, with live progress and a page of results."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ourvidz_worker.cli.chosen import chosen_catalogue
from ourvidz_worker.cli.exit_codes import INTERRUPTED
from ourvidz_worker.cli.recorded import Recording, run_recordings, submit_recording
from ourvidz_worker.cli.replay import ChangeLines
from ourvidz_worker.cli.report import build_report, print_table, write_report
from ourvidz_worker.cli.rig import Progress, Rig, families_of, running_rig, scratch_folder
from ourvidz_worker.local.server import PortTaken

DEFAULT_PORT = 8787


def run(arguments: argparse.Namespace) -> int:
    return run_recordings(arguments, _demo)


async def _demo(recordings: list[Recording], arguments: argparse.Namespace) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    port = DEFAULT_PORT if arguments.port is None else arguments.port
    with scratch_folder() as folder:
        try:
            return await _present(recordings, arguments, Path(folder), port, stopping)
        except PortTaken:
            if arguments.port is not None:
                raise
            return await _present(recordings, arguments, Path(folder), 0, stopping)


async def _present(
    recordings: list[Recording], arguments: argparse.Namespace, data: Path, port: int, stopping: asyncio.Event
) -> int:
    console = Console()
    catalogue = chosen_catalogue()
    workers = families_of([recording.payload for recording in recordings], catalogue)
    log_file = data / "workers.log"
    async with running_rig(catalogue=catalogue, workers=workers, data=data, port=port, log_file=log_file) as rig:
        console.print(f"results: {rig.backend.url}    log: {log_file}", highlight=False)
        job_ids = [await submit_recording(recording, rig.backend) for recording in recordings]
        watching = asyncio.create_task(_watch(rig, job_ids, console, arguments.timeout))
        interrupted = asyncio.create_task(stopping.wait())
        await asyncio.wait({watching, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        cut_short = watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        report = build_report(rig.backend, job_ids)
        print_table(report, console)
        if arguments.report:
            write_report(report, arguments.report)
        if rig.orchestrator.returncode is not None:
            console.print(
                f"the orchestrator ended early; its log:\n{log_file.read_text()}", highlight=False, markup=False
            )
        console.print(f"\nresults: {rig.backend.url}", highlight=False)
        if not arguments.once and not stopping.is_set():
            console.print("press Ctrl-C to stop", highlight=False)
            await interrupted
        interrupted.cancel()
    if cut_short:
        return INTERRUPTED
    return 0 if report["ok"] else 1


async def _watch(rig: Rig, job_ids: list[str], console: Console, seconds: float) -> bool:
    if not console.is_terminal:
        return await rig.watch(job_ids, ChangeLines(console).show, seconds=seconds)
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        return await rig.watch(job_ids, lambda jobs: live.update(_bars(jobs)), seconds=seconds)


def _bars(jobs: list[Progress]) -> Table:
    table = Table.grid(padding=(0, 2))
    for job in jobs:
        table.add_row(job.type, ProgressBar(total=1.0, completed=job.share, width=30), job.phase or job.status)
    return table

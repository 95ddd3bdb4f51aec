"""`demo`: recorded jobs, or two of its own, on the embedded backend, with live progress and a page of results."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ourvidz_worker.cli.chosen import chosen_catalogue
from ourvidz_worker.cli.exit_codes import INTERRUPTED
from ourvidz_worker.cli.headlines import HeadlineLines, headline_recordings
from ourvidz_worker.cli.recorded import Recording, run_recordings, submit_recording
from ourvidz_worker.cli.replay import ChangeLines
from ourvidz_worker.cli.report import build_report, print_table, write_report
from ourvidz_worker.cli.rig import Progress, Rig, families_of, running_rig, scratch_folder
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.local.server import PortTaken

DEFAULT_PORT = 8787


def run(arguments: argparse.Namespace) -> int:
    return run_recordings(arguments, _demo)


async def _demo(recordings: list[Recording], arguments: argparse.Namespace) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    port = DEFAULT_PORT if arguments.port is None else arguments.port
    if arguments.headlines or not recordings:
        recordings = [*headline_recordings(), *recordings]
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
    workers = families_of(recordings, catalogue)
    log_file = data / "workers.log"
    async with running_rig(catalogue=catalogue, workers=workers, data=data, port=port, log_file=log_file) as rig:
        console.print(str(rig.selected), highlight=False, markup=False, soft_wrap=True)
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
        if arguments.keep:
            _keep(rig.backend, job_ids, arguments.keep)
            console.print(f"copied to {arguments.keep}", highlight=False, markup=False, soft_wrap=True)
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
    headlines = HeadlineLines(rig.backend, console)
    if not console.is_terminal:
        lines = ChangeLines(console)

        def told(jobs: list[Progress]) -> None:
            lines.show(jobs)
            headlines.show(jobs)

        return await rig.watch(job_ids, told, seconds=seconds)
    with Live(console=console, refresh_per_second=8, transient=True) as live:

        def shown(jobs: list[Progress]) -> None:
            live.update(_bars(jobs))
            headlines.show(jobs)

        return await rig.watch(job_ids, shown, seconds=seconds)


def _keep(backend: EmbeddedBackend, job_ids: list[str], folder: Path) -> None:
    """What was drawn, in the order of the jobs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, job in enumerate(filter(None, map(backend.job, job_ids)), start=1):
        for index, asset in enumerate(job["assets"], start=1):
            drawn = backend.file(asset["bucket"], asset["key"])
            name = f"{number:02}-{job['job_type']}-{index}{Path(asset['name']).suffix}"
            shutil.copyfile(drawn, folder / name)


def _bars(jobs: list[Progress]) -> Table:
    table = Table.grid(padding=(0, 2))
    for job in jobs:
        table.add_row(job.type, ProgressBar(total=1.0, completed=job.share, width=30), job.phase or job.status)
    return table

"""`doctor`: everything a worker needs, looked at once, each finding with its cure."""

from __future__ import annotations

import argparse
import asyncio

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis
from ourvidz_worker.cli.doctor.examination import examine
from ourvidz_worker.cli.doctor.report import print_json, print_report
from ourvidz_worker.errors import WorkerError


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a worker could not run."""
    diagnoses, mended = asyncio.run(_consult(fix=arguments.fix))
    healthy = all(item.finding.ok for item in diagnoses if item.fatal)
    show = print_json if arguments.json else print_report
    show(diagnoses, mended, healthy=healthy)
    return 0 if healthy else 1


async def _consult(*, fix: bool) -> tuple[list[Diagnosis], list[str]]:
    """What is found, after what is safe was done where that is wanted."""
    diagnoses = await examine()
    mends = [item.mend for item in diagnoses if item.mend is not None]
    if not fix or not mends:
        return diagnoses, []
    mended = []
    for mend in mends:
        try:
            mended.append(await mend())
        except (OSError, WorkerError) as error:
            mended.append(f"this could not be mended: {error}")
    return await examine(), mended

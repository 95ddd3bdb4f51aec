"""`scripts/chaos`: many jobs through real processes that are killed, paused and cut off, and what became of each."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tests.chaos import report
from tests.chaos.game import NotSettled, Options, Scene, play, summary
from tests.chaos.judge import Verdict, judge

SHOWN_VIOLATIONS = 10


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    options = Options(
        jobs=arguments.jobs,
        seed=arguments.seed,
        folder=folder,
        lease_seconds=arguments.lease,
        pause_seconds=arguments.pause,
        moment_share=arguments.moments,
    )
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            scene, evidence = asyncio.run(play(options, lambda scene: _show(live, scene)))
    except NotSettled as error:
        console.print(str(error), markup=False)
        return 1
    verdict = judge(evidence)
    result = {
        **report.provenance("scripts/chaos"),
        "ok": not any(verdict.violations.values()),
        "options": {"jobs": options.jobs, "seed": options.seed, "environment": options.environment()},
        **summary(scene),
        **verdict.figures,
        "violations": verdict.violations,
        "unavoidable": verdict.unavoidable,
    }
    (folder / "diary.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in scene.mischief.diary))
    report.write(result, arguments.report or folder / "report.json")
    _print(scene, verdict, console)
    if not result["ok"]:
        console.print(f"everything is kept in {folder}: pod logs, diary.jsonl, the backend's rows and files")
        return 1
    if arguments.folder is None and not arguments.keep:
        shutil.rmtree(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500, help="how many jobs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what happens to whom (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write everything counted as JSON")
    parser.add_argument("--folder", type=Path, help="an empty folder for logs and files, which is then kept")
    parser.add_argument("--keep", action="store_true", help="keep the folder even when nothing was wrong")
    parser.add_argument("--lease", type=int, default=6, metavar="SECONDS", help="OURVIDZ_LEASE (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=2.0, metavar="SECONDS", help="mean time between blows (default: %(default)s)"
    )
    parser.add_argument(
        "--moments", type=float, default=0.02, metavar="SHARE", help="jobs whose worker is killed at a chosen step"
    )
    return parser


def _show(live: Live, scene: Scene) -> None:
    if not live.console.is_terminal:
        return
    blows, faults = sum(scene.mischief.done.values()), sum(scene.faults.values())
    line = f"{scene.phase}: {scene.over} of {scene.options.jobs} jobs over, {blows} blows, {faults} network faults"
    live.update(Text(line), refresh=True)


def _print(scene: Scene, verdict: Verdict, console: Console) -> None:
    found = summary(scene)
    figures = {name: value for name, value in found.items() if not isinstance(value, dict)}
    groups = {name: value for name, value in found.items() if isinstance(value, dict)}
    rules = report.violation_figures(verdict.violations)
    unavoidable = {"jobs undone by late requests of dead processes": len(verdict.unavoidable)}
    sections = {"run": figures, **groups, **verdict.figures, "rules broken": rules, "not avoidable": unavoidable}
    report.print_sections(sections, console)
    for rule, cases in verdict.violations.items():
        for job_id, seen in cases[:SHOWN_VIOLATIONS]:
            console.print(f"{rule}: {job_id} {seen}", markup=False)


if __name__ == "__main__":
    sys.exit(main())

"""The command line. Each command's module is imported only when it runs, so that help comes at once."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ourvidz_worker import __version__
from ourvidz_worker.cli.models.parser import add_models
from ourvidz_worker.cli.queue.parser import add_queue
from ourvidz_worker.collections_off import without_collections
from ourvidz_worker.control import ExitCode
from ourvidz_worker.errors import ConfigurationError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

FAMILIES = ("sdxl", "wan")
WORKERS = (*FAMILIES, "qwen")
WORKER_VARIABLE = "OURVIDZ_WORKER"
USAGE_EXIT = 2
INTERRUPTED = 130  # as a shell reports the signal


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without a command, the worker named in OURVIDZ_WORKER."""
    parser = _parser()
    given = list(sys.argv[1:] if argv is None else argv)
    if not given:
        worker = os.environ.get(WORKER_VARIABLE)
        if worker not in WORKERS:
            parser.print_usage(sys.stderr)
            found = f"is {worker!r}" if worker else "is not set"
            print(f"no command given, and {WORKER_VARIABLE} {found}: use sdxl, wan or qwen", file=sys.stderr)
            return USAGE_EXIT
        given = [worker]
    arguments = parser.parse_args(given)
    with without_collections():
        command = importlib.import_module(f"ourvidz_worker.cli.{arguments.module}")
    try:
        code: int = command.run(arguments)
    except ConfigurationError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return ExitCode.CONFIGURATION
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ourvidz-worker",
        description="A GPU worker daemon for generation products built on Supabase and Upstash Redis.",
    )
    parser.add_argument("--version", action="version", version=f"ourvidz-worker {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in FAMILIES:
        worker = _command(commands, family, "worker", f"run one {family} worker on the backend of the environment")
        worker.set_defaults(family=family)
    _command(commands, "qwen", "qwen", "run the language worker: prompt enhancement and storyboards over HTTP")
    _command(commands, "orchestrator", "orchestrate", "supervise the workers of OURVIDZ_WORKERS (default: sdxl,wan)")
    _add_local(commands)
    _add_submit(commands)
    _add_replay(commands)
    _add_demo(commands)
    add_queue(commands)
    add_models(commands)
    doctor = _command(commands, "doctor", "doctor", "check what a worker needs, with a cure for each finding")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    return parser


def _command(commands: Commands, name: str, module: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
    parser.set_defaults(module=module)
    return parser


def _add_local(commands: Commands) -> None:
    local = _command(commands, "local", "local", "run the embedded backend alone and print the environment to export")
    local.add_argument("--port", type=_port, default=8787, help="port to listen on, 0 picks a free one (default 8787)")
    local.add_argument("--data", type=Path, default=Path(".local"), help="folder for rows and files (default .local)")
    local.add_argument("--redis", metavar="URL", help="a real Redis behind the REST layer, like redis://127.0.0.1:6379")


def _add_submit(commands: Commands) -> None:
    text = "queue a job, or a storyboard, through the product's queue-job function"
    submit = _command(commands, "submit", "submit.command", text)
    submit.add_argument(
        "what",
        metavar="TYPE|FILE.json",
        help="the job type, like sdxl_image_fast, or a storyboard: what /storyboard answered, or a list of scenes",
    )
    submit.add_argument("--prompt", help="what to draw; needed for a job type")
    submit.add_argument("--enhance", action="store_true", help="have the product's enhance-prompt rewrite it first")
    submit.add_argument("--images", type=int, choices=(1, 3, 6), help="number of images (default 1)")
    submit.add_argument("--seed", type=int, help="seed of the first image, or of every scene")
    submit.add_argument(
        "--reference",
        metavar="[TYPE=]URL",
        action="append",
        help="a picture to be guided by; several, of different types, as style=URL, composition=URL, character=URL",
    )
    submit.add_argument("--reference-type", choices=("style", "composition", "character"), default="style")
    submit.add_argument("--start-frame", metavar="URL", help="the picture that a video begins with")
    submit.add_argument("--end-frame", metavar="URL", help="the picture that a video ends with")
    submit.add_argument("--reference-strength", type=float, default=0.7, help="0.1 to 1.0 (default 0.7)")
    submit.add_argument("--scheduler", metavar="NAME", help="one of the catalogue's for SDXL")
    submit.add_argument("--wait", action="store_true", help="wait for the results; exit 1 if a job failed")
    submit.add_argument("--timeout", type=float, help="seconds to wait in all (default 900 for each job)")
    submit.add_argument("--json", action="store_true", help="print the job, or a list of scenes, as JSON")


def _add_replay(commands: Commands) -> None:
    replay = _command(
        commands, "replay", "replay", "run recorded payloads through real workers against the embedded backend"
    )
    replay.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a recorded queue element, as JSON")
    replay.add_argument("--report", type=Path, metavar="FILE", help="write the outcome as JSON")
    replay.add_argument("--redis", metavar="URL", help="a real Redis behind the REST layer")
    replay.add_argument("--profile", choices=("2025-07", "2026-02"), default="2025-07", help="callback profile")
    replay.add_argument("--timeout", type=float, default=1800.0, help="seconds before giving up (default 1800)")


def _add_demo(commands: Commands) -> None:
    demo = _command(commands, "demo", "demo", "run recorded jobs on the embedded backend and show the results")
    demo.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a recorded queue element, as JSON")
    demo.add_argument("--once", action="store_true", help="exit when the jobs are done, 0 only if all completed")
    demo.add_argument("--report", type=Path, metavar="FILE", help="write the outcome as JSON")
    demo.add_argument("--port", type=_port, help="port of the page, 0 picks a free one (default 8787, or a free one)")
    demo.add_argument("--timeout", type=float, default=1800.0, help="seconds before giving up (default 1800)")


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text!r}")
    return port

"""The command line. Each command's module is imported only when it runs, so that help comes at once."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence

from ourvidz_worker import __version__
from ourvidz_worker.cli.commands import PROGRAM, CommandParser, below
from ourvidz_worker.cli.completion_parser import add_completion
from ourvidz_worker.cli.daemons_parser import add_daemons
from ourvidz_worker.cli.doctor.parser import add_doctor
from ourvidz_worker.cli.exit_codes import COMMON, INTERRUPTED, WORKER, meanings
from ourvidz_worker.cli.models.parser import add_models
from ourvidz_worker.cli.operate.parser import add_operate
from ourvidz_worker.cli.plan.parser import add_plan
from ourvidz_worker.cli.queue.parser import add_queue
from ourvidz_worker.cli.rehearsals_parser import add_rehearsals
from ourvidz_worker.cli.submit.parser import add_submit
from ourvidz_worker.collections_off import without_collections
from ourvidz_worker.control import ExitCode
from ourvidz_worker.errors import ConfigurationError

FAMILIES = ("sdxl", "wan")
WORKERS = (*FAMILIES, "qwen")
WORKER_VARIABLE = "OURVIDZ_WORKER"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without a command, the worker named in OURVIDZ_WORKER.

    Raises `SystemExit` for help, the version, and wrong use.
    """
    try:
        with _said_to_the_end():
            return _run(list(sys.argv[1:] if argv is None else argv))
    except BrokenPipeError:
        _say_no_more()
        return ExitCode.INTERNAL
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(given: list[str]) -> int:
    arguments = _parsed(given)
    with without_collections():
        module = importlib.import_module(f"ourvidz_worker.cli.{arguments.module}")
    try:
        code: int = module.run(arguments)
    except ConfigurationError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return ExitCode.CONFIGURATION
    return code


def _parsed(given: list[str]) -> argparse.Namespace:
    parser = build_parser()
    if not given:
        worker = os.environ.get(WORKER_VARIABLE)
        if worker not in WORKERS:
            found = f"is {worker!r}" if worker else "is not set"
            parser.error(f"no command given, and {WORKER_VARIABLE} {found}: use sdxl, wan or qwen")
        given = [worker]
    return parser.parse_args(given)


def build_parser() -> CommandParser:
    """Every command with all its arguments; none of their modules is imported."""
    parser = CommandParser(
        prog=PROGRAM, description="A GPU worker daemon for generation products built on Supabase and Upstash Redis."
    )
    parser.examples = ["doctor", "orchestrator", "queue status"]
    parser.exit_codes = meanings((*COMMON, *WORKER), {})
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = below(parser)
    add_daemons(commands, FAMILIES)
    add_rehearsals(commands)
    add_submit(commands)
    add_operate(commands)
    add_queue(commands)
    add_models(commands)
    add_plan(commands)
    add_doctor(commands)
    add_completion(commands)
    return parser


@contextlib.contextmanager
def _said_to_the_end() -> Iterator[None]:
    """What is still in a buffer goes out here, where a reader that has left can be told from a failure."""
    try:
        yield
    finally:
        sys.stdout.flush()


def _say_no_more() -> None:
    """Python's own last flush would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a stream of a test has no descriptor
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)

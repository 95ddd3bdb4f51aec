"""The arguments of what runs against the embedded backend: the backend alone, recorded jobs, the demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from ourvidz_worker.cli.commands import Commands, command, port

_JUDGED = {0: "every job completed", 1: "a job failed, or nothing could be started"}


def add_rehearsals(commands: Commands) -> None:
    _add_local(commands)
    _add_replay(commands)
    _add_demo(commands)


def _add_local(commands: Commands) -> None:
    local = command(
        commands,
        "local",
        "local",
        "run the embedded backend alone and print the environment to export",
        examples=["local", "local --port 0 --data /tmp/backend"],
        exit_codes={0: "stopped by a signal, Ctrl-C included", 1: "nothing could be started"},
    )
    local.add_argument(
        "--port", metavar="PORT", type=port, default=8787, help="port to listen on, 0 picks a free one (default 8787)"
    )
    local.add_argument(
        "--data", metavar="FOLDER", type=Path, default=Path(".local"), help="where rows and files are (default .local)"
    )
    local.add_argument("--redis", metavar="URL", help="a real Redis behind the REST layer, like redis://127.0.0.1:6379")


def _add_replay(commands: Commands) -> None:
    replay = command(
        commands,
        "replay",
        "replay",
        "run recorded payloads through real workers against the embedded backend",
        examples=["replay tests/payloads/video_fast.json", "replay --report outcome.json tests/payloads/*.json"],
        exit_codes=_JUDGED,
    )
    _add_recordings(replay, "+", "a recorded queue element, as JSON")
    replay.add_argument("--redis", metavar="URL", help="a real Redis behind the REST layer")
    replay.add_argument(
        "--profile", choices=("2025-07", "2026-02"), default="2025-07", help="callback profile (default 2025-07)"
    )


def _add_demo(commands: Commands) -> None:
    demo = command(
        commands,
        "demo",
        "demo",
        "draw a picture and a clip, or run recorded jobs, on the embedded backend and show the results",
        examples=["demo", "demo --once --report outcome.json tests/payloads/*.json"],
        exit_codes=_JUDGED,
    )
    _add_recordings(demo, "*", "a recorded queue element, as JSON (default: one prompt as a picture, one as a clip)")
    demo.add_argument("--headlines", action="store_true", help="draw those two besides the recorded ones")
    demo.add_argument("--keep", type=Path, metavar="FOLDER", help="copy there what was drawn")
    demo.add_argument("--once", action="store_true", help="exit when the jobs are done")
    demo.add_argument(
        "--port",
        metavar="PORT",
        type=port,
        help="port of the page, 0 picks a free one (default 8787, or a free one where that is taken)",
    )


def _add_recordings(parser: argparse.ArgumentParser, count: Literal["+", "*"], text: str) -> None:
    parser.add_argument("files", nargs=count, type=Path, metavar="FILE", help=text)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the outcome as JSON")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=1800.0, help="give up after so long (default 1800)"
    )

"""The arguments of what an operator looks at: `status` and `operator`."""

from __future__ import annotations

import argparse

from ourvidz_worker.cli.commands import Commands, command, port

_REDIS_SECONDS = 10.0


def add_operate(commands: Commands) -> None:
    _add_status(commands)
    _add_operator(commands)


def _add_status(commands: Commands) -> None:
    status = command(
        commands,
        "status",
        "operate.status",
        "show workers, queues, cards and what needs a person, live in a terminal until q is pressed",
        examples=["status", "status --json", "status --json --watch 10"],
        exit_codes={
            0: "all is well",
            1: "something needs a person: a worker given up, a pod or Redis out of reach, dead letters, parked results",
        },
    )
    status.add_argument("--json", action="store_true", help="print the facts as JSON, once")
    status.add_argument("--once", action="store_true", help="one look, also in a terminal")
    status.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_seconds,
        help="look again and again (default in a terminal: every 2); with --json, one document a line",
    )
    _add_redis_interval(status)


def _add_operator(commands: Commands) -> None:
    operator = command(
        commands,
        "operator",
        "operate.server",
        "serve the operator's page on 127.0.0.1, under an address that carries a token",
        examples=["operator", "operator --port 0"],
        exit_codes={0: "stopped by a signal, Ctrl-C included", 1: "the port is taken"},
    )
    operator.add_argument(
        "--port", metavar="PORT", type=port, default=8790, help="port to listen on, 0 picks a free one (default 8790)"
    )
    _add_redis_interval(operator)


def _add_redis_interval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--redis-interval",
        metavar="SECONDS",
        type=_seconds,
        default=_REDIS_SECONDS,
        help=f"between looks at the queues, whose commands Upstash bills (default {_REDIS_SECONDS:g})",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"must be seconds from 0.1 to 86400, got {text!r}")
    return seconds

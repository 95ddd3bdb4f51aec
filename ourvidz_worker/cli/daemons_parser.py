"""The arguments of what runs on a pod until it is stopped: the workers and their orchestrator."""

from __future__ import annotations

from ourvidz_worker.cli.commands import Commands, command
from ourvidz_worker.cli.exit_codes import DAEMON, WORKER
from ourvidz_worker.control import ExitCode

_STOPPED = {0: "stopped by a signal, in order"}
_CRASHED = {**_STOPPED, 1: "crashed; the log says why"}


def add_daemons(commands: Commands, families: tuple[str, ...]) -> None:
    for family in families:
        worker = command(
            commands,
            family,
            "worker",
            f"run one {family} worker on the backend of the environment",
            examples=[family],
            exit_codes=_CRASHED,
            codes=WORKER,
        )
        worker.set_defaults(family=family)
    command(
        commands,
        "qwen",
        "qwen",
        "run the language worker: prompt enhancement and storyboards over HTTP",
        examples=["qwen"],
        exit_codes=_CRASHED,
        codes=(*DAEMON, ExitCode.POISONED_CONTEXT),
    )
    command(
        commands,
        "orchestrator",
        "orchestrate",
        "supervise the workers of OURVIDZ_WORKERS, or else of workers.toml (sdxl and wan)",
        examples=["orchestrator"],
        exit_codes={**_STOPPED, 1: "every worker was given up"},
        codes=DAEMON,
    )

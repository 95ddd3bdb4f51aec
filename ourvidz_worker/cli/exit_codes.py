"""What the exit codes of all commands mean. Those of the workers are `control.ExitCode`'s."""

from __future__ import annotations

from collections.abc import Mapping

from ourvidz_worker.control import ExitCode

USAGE_EXIT = 2
INTERRUPTED = 130  # as a shell reports SIGINT

MEANINGS: Mapping[int, str] = {
    ExitCode.OK: "done",
    ExitCode.INTERNAL: "failed",
    USAGE_EXIT: "wrong use",
    ExitCode.FENCED: "the lease was lost, so that nothing more may be delivered",
    ExitCode.POISONED_CONTEXT: "CUDA refuses all further work in this process",
    ExitCode.CONFIGURATION: "the environment or a configuration file is wrong",
    INTERRUPTED: "interrupted",
}
"""A command says more exactly what it means by them where it can."""

COMMON = (ExitCode.OK, ExitCode.INTERNAL, USAGE_EXIT, ExitCode.CONFIGURATION, INTERRUPTED)
DAEMON = (ExitCode.OK, ExitCode.INTERNAL, USAGE_EXIT, ExitCode.CONFIGURATION)
WORKER = (*DAEMON, ExitCode.FENCED, ExitCode.POISONED_CONTEXT)


def meanings(codes: tuple[int, ...], said: Mapping[int, str]) -> dict[int, str]:
    """Each of these codes and of those a command speaks of, in order, in its words or else in the common ones."""
    return {code: said.get(code) or MEANINGS[code] for code in sorted({*codes, *said})}

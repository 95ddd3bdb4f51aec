"""What the end of a worker process means, in words."""

from __future__ import annotations

import signal

from ourvidz_worker.control import ExitCode

_MEANINGS = {
    ExitCode.INTERNAL: "an internal error",
    ExitCode.CONFIGURATION: "a wrong configuration",
    ExitCode.POISONED_CONTEXT: "a CUDA context that refuses all further work",
    ExitCode.FENCED: "a lost lease",
}

_KINDS = {
    ExitCode.OK: "ok",
    ExitCode.INTERNAL: "internal",
    ExitCode.CONFIGURATION: "configuration",
    ExitCode.POISONED_CONTEXT: "poisoned_context",
    ExitCode.FENCED: "fenced",
}


def how_it_ended(exit_code: int) -> str:
    """The predicate of a sentence about the worker; `exit_code` is negative for a signal, as in `subprocess`."""
    if exit_code < 0:
        return f"was killed by {_signal_name(-exit_code)}"
    meaning = _MEANINGS.get(exit_code)
    return f"ended with exit code {exit_code}" + (f": {meaning}" if meaning else "")


def kind_of_end(exit_code: int) -> str:
    """The same in one of few words."""
    return "signal" if exit_code < 0 else _KINDS.get(exit_code, "other")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"

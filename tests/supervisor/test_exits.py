"""The end of a worker, in words."""

from __future__ import annotations

import pytest

from ourvidz_worker.control import ExitCode
from ourvidz_worker.supervisor.exits import how_it_ended


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (ExitCode.OK, "ended with exit code 0"),
        (ExitCode.INTERNAL, "ended with exit code 1: an internal error"),
        (ExitCode.FENCED, "ended with exit code 75: a lost lease"),
        (ExitCode.POISONED_CONTEXT, "ended with exit code 76: a CUDA context that refuses all further work"),
        (ExitCode.CONFIGURATION, "ended with exit code 78: a wrong configuration"),
        (3, "ended with exit code 3"),
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (-40, "was killed by signal 40"),
    ],
)
def test_every_end_has_words(exit_code: int, words: str) -> None:
    assert how_it_ended(exit_code) == words

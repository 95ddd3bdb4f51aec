"""What a command said that ran inside the test's own process, which costs less than one of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ourvidz_worker.cli.main import main
from tests.support.commands import OURS


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def said_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Run `ourvidz-worker …` in the environment as it is; for commands that return, as workers do not."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as usage:
        code = int(str(usage.code))
    said = capsys.readouterr()
    return Said(code, said.out, said.err)


def set_environment(patch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    """Of the project's variables, have these alone until the test ends."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        patch.delenv(name)
    for name, value in variables.items():
        patch.setenv(name, value)

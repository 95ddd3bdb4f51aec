"""Whoever stops a command, or does not read on, sees no traceback."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

import pytest

from ourvidz_worker.cli.doctor import command as doctor
from tests.support.commands import ROOT, clean_environment
from tests.support.said import said_by


def test_ctrl_c_ends_a_command_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_arguments: argparse.Namespace) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr(doctor, "run", interrupted)
    said = said_by(capsys, "doctor")
    assert (said.code, said.out, said.err) == (130, "", "interrupted\n")


@pytest.mark.parametrize("arguments", [["completion", "bash"], ["models", "--help"]])
def test_a_reader_that_has_left_is_no_traceback(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        result = subprocess.run(
            [sys.executable, "-m", "ourvidz_worker", *arguments],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=clean_environment({"PYTHONUNBUFFERED": ""}),
            cwd=ROOT,
            text=True,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "")

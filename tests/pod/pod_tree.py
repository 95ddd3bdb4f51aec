"""A pod before its first start: the repository's files in a folder of their own, an empty volume, and its Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.commands import COMMAND_SECONDS, ROOT, clean_environment

_STAND_IN = """#!/usr/bin/env bash
# Python as far as making an environment goes: `-m venv` and `-m pip` are noted, and all the rest is the tests' own.
set -eu
case "${1:-} ${2:-}" in
    '-m venv')
        for folder in "$@"; do :; done
        mkdir -p "$folder/bin"
        cp "$0" "$folder/bin/python"
        echo "home of $folder" >"$folder/pyvenv.cfg"
        printf '#!%s\\n' "$folder/bin/python" >"$folder/bin/ourvidz-worker"
        echo venv >>"$STEPS"
        ;;
    '-m pip')
        echo pip "$@" >>"$STEPS"
        [ -z "${HANG:-}" ] || exec sleep 300
        [ -z "${BREAK:-}" ] || { echo "no space left on device"; exit 1; }
        ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
"""


class PodTree:
    """`start` runs its start.sh; `steps` are the installation steps that were taken so far."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.volume = folder / "workspace"
        self._steps = folder / "steps"
        self._python = folder / "python3"
        self._copy_tracked_files()
        self.volume.mkdir()
        self._python.write_text(_STAND_IN)
        self._python.chmod(0o755)

    @property
    def script(self) -> str:
        return str(self.checkout / "runpod" / "start.sh")

    @property
    def steps(self) -> list[str]:
        return self._steps.read_text().splitlines() if self._steps.exists() else []

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {
            "OURVIDZ_VOLUME": str(self.volume),
            "PYTHON": str(self._python),
            "REAL_PYTHON": sys.executable,
            "STEPS": str(self._steps),
            **variables,
        }

    def start(self, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [self.script],
            env=clean_environment(self.environment(variables)),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            cwd="/",
        )

    def forget(self) -> None:
        """What was noted so far."""
        self._steps.unlink(missing_ok=True)

    def environments(self) -> list[str]:
        """What lies on the volume for Python."""
        return sorted(path.name for path in (self.volume / "ourvidz").glob("python-*"))

    def _copy_tracked_files(self) -> None:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, os.fsdecode(listed).split("\0")):
            source, target = ROOT / name, self.checkout / name
            if name.startswith("tests/") or not source.is_file():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)

"""Which libraries are installed, and whether they are those that this version was tested with."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path

from ourvidz_worker import __version__
from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, note, problem

LIBRARIES = ("torch", "diffusers", "transformers", "supabase", "upstash-redis", "av")
CONSTRAINTS = Path(__file__).parents[3] / "scripts" / "constraints.txt"
_AGAIN = "install the package again: pip install --constraint scripts/constraints.txt ."


def examine_versions(constraints: Path = CONSTRAINTS) -> Iterator[Diagnosis]:
    installed = [f"ourvidz-worker {__version__}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        version = _installed(name)
        if version is None:
            yield problem("versions", f"{name} is not installed", _AGAIN)
        else:
            installed.append(f"{name} {version}")
    yield good("versions", ", ".join(installed))
    different = list(_different(constraints))
    if different:
        yield note("versions", f"other versions than those that were tested: {', '.join(different)}", _AGAIN)


def _different(constraints: Path) -> Iterator[str]:
    """An installed package has no file of constraints beside it, and nothing to compare with."""
    if not constraints.is_file():
        return
    for line in constraints.read_text(encoding="utf-8").splitlines():
        name, separator, wanted = line.partition("#")[0].partition(";")[0].strip().partition("==")
        version = _installed(name.strip()) if separator else None
        # A build for another accelerator names itself behind a plus.
        if version is not None and version.partition("+")[0] != wanted.strip().partition("+")[0]:
            yield f"{name} {version} instead of {wanted}"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None

"""`[demo.files]` of `configs/models.toml`: every file of the models that ship with the package, and what it must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.engines.volume.sources import SHA256, stays_below


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """A file by its `name` below the folder of the shipped models."""

    name: str
    bytes: int
    sha256: str


def shipped_problems(table: Any) -> Iterator[str]:
    """A sentence for everything that is wrong in `[demo.files]`."""
    if not isinstance(table, dict):
        yield "[demo.files] in models.toml must be a table"
        return
    for name, entry in table.items():
        if not stays_below(name):
            yield f"[demo.files] {name!r} in models.toml is wrong: it must be a path inside the folder of the models"
        elif not _is_whole(entry):
            yield f'[demo.files] "{name}" in models.toml must be bytes above 0 and sha256 with 64 hexadecimal digits'


def build_shipped(table: Mapping[str, Any]) -> tuple[ShippedFile, ...]:
    """From a table without a problem."""
    return tuple(ShippedFile(name, entry["bytes"], entry["sha256"]) for name, entry in table.items())


def _is_whole(entry: Any) -> bool:
    match entry:
        case {"bytes": int(size), "sha256": str(digest), **rest}:
            return not rest and size > 0 and not isinstance(size, bool) and SHA256.fullmatch(digest) is not None
    return False

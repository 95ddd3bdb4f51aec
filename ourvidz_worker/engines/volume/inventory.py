"""What lies on the volume: of each piece how much is there, and whether it is what it should be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ourvidz_worker.engines.volume.pieces import Piece
from ourvidz_worker.engines.volume.sources import Source, SourceFile
from ourvidz_worker.engines.volume.weights import findings, hub_snapshot

State = Literal["present", "partial", "missing"]
OnBytes = Callable[[str, int, int], None]
"""Hears of which file how many bytes were read, and how many it has."""

_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Stock:
    """`bytes` of a piece are there; `whole_bytes` is what its source says of it, if it has one.

    What is `loadable` may still differ from its source.
    """

    piece: Piece
    state: State
    bytes: int
    whole_bytes: int | None
    problems: tuple[str, ...]
    loadable: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was looked at of a piece: files, and how many of them were compared with a known hash."""

    problems: tuple[str, ...]
    files: int
    hashed: int


def stock_of(piece: Piece, models_dir: Path) -> Stock:
    present = sum(path.stat().st_size for path in _files(piece))
    found = findings(piece)
    problems = _problems(piece, models_dir, found)
    state: State = "present" if not problems else "partial" if present else "missing"
    return Stock(piece, state, present, piece.source.bytes if piece.source else None, problems, not found)


def still_to_fetch(piece: Piece, models_dir: Path) -> list[SourceFile]:
    """The files of the source that are not there, or have another size.

    None where the weights are whole without any of them: they came from elsewhere, like WAN's original layout.
    """
    source = piece.source
    if source is None or (not findings(piece) and not _began(source, models_dir)):
        return []
    return [file for file in source.files if _misfit(source.place(file, models_dir), file) is not None]


def verify(piece: Piece, models_dir: Path, *, full: bool, on_bytes: OnBytes) -> Verdict:
    """Compare with sizes and headers, and with hashes where it is to be `full`."""
    problems = _problems(piece, models_dir, findings(piece))
    known = _known_hashes(piece, models_dir) if full else {}
    damaged = [
        f"{path} is damaged: its SHA-256 is {found}, not {expected}; remove it and {piece.fetching}"
        for path, expected in known.items()
        if (found := _sha256(path, on_bytes)) != expected
    ]
    return Verdict((*problems, *damaged), len(_files(piece)), len(known))


def _problems(piece: Piece, models_dir: Path, found: Sequence[str]) -> tuple[str, ...]:
    """What was `found` that would keep it from loading, and what its source has otherwise; of each file once."""
    source = piece.source
    if source is None or not _began(source, models_dir):
        return tuple(found)
    places = [(source.place(file, models_dir), file) for file in source.files]
    misfits = [(path, misfit) for path, file in places if (misfit := _misfit(path, file)) is not None]
    unsaid = [(path, misfit) for path, misfit in misfits if not any(said.startswith(f"{path} ") for said in found)]
    return (*found, *(f"{path} {misfit}; {piece.fetching}" for path, misfit in unsaid))


def _known_hashes(piece: Piece, models_dir: Path) -> dict[Path, str]:
    """Of the source's files that are there and have the right size."""
    source = piece.source
    if source is None:
        return {}
    places = [(source.place(file, models_dir), file) for file in source.files]
    return {path: file.sha256 for path, file in places if file.sha256 is not None and _misfit(path, file) is None}


def _began(source: Source, models_dir: Path) -> bool:
    return any(source.place(file, models_dir).exists() for file in source.files)


def _misfit(path: Path, file: SourceFile) -> str | None:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    return None if file.bytes in (None, size) else f"has {size} bytes instead of {file.bytes}"


def _files(piece: Piece) -> list[Path]:
    """Those that are still coming included."""
    path = hub_snapshot(piece.path)
    files = [path, path.with_name(f"{path.name}.part"), *sorted(path.rglob("*"))]
    return [file for file in files if file.is_file()]


def _sha256(path: Path, on_bytes: OnBytes) -> str:
    digest, total = hashlib.sha256(), path.stat().st_size
    for done, block in _blocks(path):
        digest.update(block)
        on_bytes(path.name, done, total)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    done = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            done += len(block)
            yield done, block

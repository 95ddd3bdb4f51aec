"""`models fetch`: what is missing, from where models.toml says."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ourvidz_worker.backend.hub.downloads import Download, Hub, OnBytes
from ourvidz_worker.backend.hub.partial_file import part_of
from ourvidz_worker.cli.models.progress import ShowBytes, shown_bytes
from ourvidz_worker.cli.models.shelf import DEMO, Shelf
from ourvidz_worker.cli.models.telling import Told, tell_each
from ourvidz_worker.cli.queue.output import size
from ourvidz_worker.engines.volume.inventory import still_to_fetch
from ourvidz_worker.engines.volume.pieces import Piece
from ourvidz_worker.engines.volume.weights import findings
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError


def fetch(shelf: Shelf, _arguments: argparse.Namespace) -> int:
    """Exit code 1 unless everything is in its place afterwards."""
    if (shortage := _shortage(shelf)) is not None:
        return tell_each(shelf.output, [Told("models_dir", ok=False, sentence=shortage)])
    return tell_each(shelf.output, _fetched(shelf))


def _shortage(shelf: Shelf) -> str | None:
    """A sentence where the disk cannot hold everything that is still to come."""
    models_dir = shelf.settings.models_dir
    coming = {file.path: file.bytes or 0 for piece in shelf.pieces for file in _downloads(piece, models_dir)}
    needed = sum(max(whole - _there(path), 0) for path, whole in coming.items())
    existing = next(path for path in (models_dir, *models_dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed <= free:
        return None
    return (
        f"{size(needed)} are still to come, and {existing} has {size(free)} free: "
        f"make room for {size(needed - free)}, or name what you need"
    )


def _downloads(piece: Piece, models_dir: Path) -> Iterator[Download]:
    if (source := piece.source) is not None:
        for file in still_to_fetch(piece, models_dir):
            yield Download(source.address(file), source.place(file, models_dir), file.bytes, file.sha256)


def _there(path: Path) -> int:
    part = part_of(path)
    return part.stat().st_size if part.is_file() else 0


def _fetched(shelf: Shelf) -> Iterator[Told]:
    settings = shelf.settings
    token = settings.hub_token.get_secret_value() if settings.hub_token else None
    with Hub(url=settings.hub_url, token=token) as hub, shown_bytes(quiet=shelf.output.as_json) as show:
        for piece in shelf.pieces:
            yield from _fetch_piece(hub, piece, list(_downloads(piece, settings.models_dir)), show)
    if not shelf.pieces:
        yield Told(DEMO, ok=True, sentence="ships with this package, there is nothing to fetch")


def _fetch_piece(hub: Hub, piece: Piece, downloads: Sequence[Download], show: ShowBytes) -> Iterator[Told]:
    """Ends with its first failure: what keeps one file away keeps the others away, too."""
    for file in downloads:
        told = _fetch_file(hub, piece, file, partial(show, file.path.name))
        yield told
        if not told.ok:
            return
    if downloads and (problem := _point_to_snapshot(piece)) is not None:
        yield Told(piece.name, ok=False, sentence=problem)
        return
    # That all files came does not mean that they are what models.toml asks for.
    problems = findings(piece)
    yield from (Told(piece.name, ok=False, sentence=problem) for problem in problems)
    if not problems:
        yield Told(piece.name, ok=True, sentence=f"in place at {piece.path}")


def _fetch_file(hub: Hub, piece: Piece, file: Download, on_bytes: OnBytes) -> Told:
    try:
        hub.fetch(file, on_bytes)
    except (BackendRefused, BackendUnavailable, ConfigurationError) as error:
        return Told(piece.name, ok=False, sentence=str(error))
    return Told(piece.name, ok=True, sentence=f"{file.path} ({size(file.path.stat().st_size)})")


def _point_to_snapshot(piece: Piece) -> str | None:
    """In the hub's own layout, `refs/main` names the snapshot that counts; a sentence where it cannot be written."""
    source = piece.source
    if source is None or not source.is_hub_entry:
        return None
    reference = piece.path / "refs" / "main"
    aside = part_of(reference)
    try:
        reference.parent.mkdir(exist_ok=True)
        aside.write_text(source.revision)
        aside.replace(reference)
    except OSError as error:
        return f"{reference} cannot be written: {error.strerror or error}"
    return None

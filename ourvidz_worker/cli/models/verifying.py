"""`models verify`: is what lies on the volume what it should be?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ourvidz_worker.cli.models.demo import DemoStock, demo_stocks
from ourvidz_worker.cli.models.progress import shown_bytes
from ourvidz_worker.cli.models.shelf import Shelf
from ourvidz_worker.cli.models.telling import Told, tell_each
from ourvidz_worker.engines.volume.inventory import OnBytes, verify
from ourvidz_worker.engines.volume.pieces import Piece


def verify_pieces(shelf: Shelf, arguments: argparse.Namespace) -> int:
    """Exit code 1 on any finding."""
    with shown_bytes(quiet=shelf.output.as_json) as show:
        return tell_each(shelf.output, _verified(shelf, show, full=arguments.full))


def _verified(shelf: Shelf, on_bytes: OnBytes, *, full: bool) -> Iterator[Told]:
    for piece in shelf.pieces:
        if piece.optional and not piece.path.exists():
            yield Told(piece.name, ok=True, sentence="is not there, and optional")
        else:
            yield from _verified_piece(shelf, piece, on_bytes, full=full)
    if shelf.demo:
        yield from (_told_of(each) for each in demo_stocks(shelf.models))


def _told_of(stock: DemoStock) -> Told:
    """Always by hash: what ships is small."""
    if stock.findings:
        return Told(stock.name, ok=False, sentence=" ".join(stock.findings))
    return Told(stock.name, ok=True, sentence=f"whole (files: {stock.files}, compared by hash: {stock.files})")


def _verified_piece(shelf: Shelf, piece: Piece, on_bytes: OnBytes, *, full: bool) -> Iterator[Told]:
    verdict = verify(piece, shelf.settings.models_dir, full=full, on_bytes=on_bytes)
    yield from (Told(piece.name, ok=False, sentence=problem) for problem in verdict.problems)
    if not verdict.problems:
        compared = f", compared by hash: {verdict.hashed}" if full else ""
        yield Told(piece.name, ok=True, sentence=f"whole (files: {verdict.files}{compared})")

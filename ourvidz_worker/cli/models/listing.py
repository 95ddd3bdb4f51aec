"""`models list`: what models.toml asks for, and what of it is there."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ourvidz_worker.cli.models.demo import DemoStock, demo_stocks
from ourvidz_worker.cli.models.shelf import Shelf
from ourvidz_worker.cli.queue.output import size
from ourvidz_worker.engines.volume.converted import Copy, copies, leftovers
from ourvidz_worker.engines.volume.inventory import Stock, stock_of
from ourvidz_worker.engines.volume.sources import Source

_HEADINGS = ("name", "state", "there", "whole", "source", "path")


def show(shelf: Shelf, _arguments: argparse.Namespace) -> int:
    stocks = [stock_of(piece, shelf.settings.models_dir) for piece in shelf.pieces]
    loadable = {stock.piece.name for stock in stocks if stock.loadable}
    found = [copy for copy in copies(shelf.models, shelf.settings.models_dir) if f"{copy.part}.path" in loadable]
    if shelf.output.as_json:
        shelf.output.document(
            {
                "models_dir": str(shelf.settings.models_dir),
                "models": [_as_json(stock) for stock in stocks],
                "copies": [{"part": copy.part, "path": str(copy.path), "fits": copy.fits} for copy in found],
                "leftovers": [str(path) for path in _leftovers(shelf)],
                "unused_sources": [source.name for source in _unused(shelf)],
                "demo": [asdict(stock) for stock in _demo(shelf)],
            }
        )
        return 0
    shelf.output.table(_HEADINGS, (_as_row(stock) for stock in stocks))
    for line in _notes(shelf, stocks, found):
        shelf.output.line(line)
    return 0


def _notes(shelf: Shelf, stocks: list[Stock], found: list[Copy]) -> Iterator[str]:
    for stock in stocks:
        if stock.state == "partial":
            yield from (f"{stock.piece.name}: {problem}" for problem in stock.problems)
    for copy in found:
        what = f"loads from its faster copy {copy.path}" if copy.fits else "could load faster: see `models convert`"
        yield f"{copy.part}.path: {what}"
    for path in _leftovers(shelf):
        yield f"{path} is no copy of what models.toml names now: unless one is being made, it can be removed"
    for source in _unused(shelf):
        yield f"[sources.{source.name}] is not used: set a key to {_target(source)} to use it"
    for demo in _demo(shelf):
        whole = f"ships with this package ({size(demo.bytes)}), for OURVIDZ_MODELS=demo"
        yield f"{demo.name}: {' '.join(demo.findings) or whole}"


def _demo(shelf: Shelf) -> list[DemoStock]:
    return demo_stocks(shelf.models) if shelf.demo else []


def _leftovers(shelf: Shelf) -> list[Path]:
    return leftovers(shelf.models, shelf.settings.models_dir) if _shows_everything(shelf) else []


def _unused(shelf: Shelf) -> list[Source]:
    used = [piece.source for piece in shelf.pieces]
    return [source for source in shelf.models.sources if _shows_everything(shelf) and source not in used]


def _shows_everything(shelf: Shelf) -> bool:
    return len({piece.part for piece in shelf.pieces}) > 1


def _target(source: Source) -> str:
    """What a key must say: the one weights file of a shared folder, or the folder."""
    return f"{source.path}/{source.files[0].name}" if len(source.files) == 1 else source.path


def _as_row(stock: Stock) -> tuple[object, ...]:
    piece = stock.piece
    return (
        piece.name,
        f"{stock.state}, optional" if piece.optional else stock.state,
        size(stock.bytes) if stock.bytes else None,
        size(stock.whole_bytes) if stock.whole_bytes else None,
        piece.source and piece.source.repository,
        piece.path,
    )


def _as_json(stock: Stock) -> dict[str, Any]:
    piece = stock.piece
    return {
        "name": piece.name,
        "state": stock.state,
        "optional": piece.optional,
        "bytes": stock.bytes,
        "whole_bytes": stock.whole_bytes,
        "repository": piece.source and piece.source.repository,
        "revision": piece.source and piece.source.revision,
        "path": str(piece.path),
        "findings": list(stock.problems),
    }

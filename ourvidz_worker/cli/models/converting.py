"""`models convert`: copies that load faster."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ourvidz_worker.cli.models.progress import shown_work
from ourvidz_worker.cli.models.shelf import DEMO, Shelf
from ourvidz_worker.cli.models.telling import Told, tell_each
from ourvidz_worker.cli.queue.output import size
from ourvidz_worker.engines.volume.converted import Copy, copies
from ourvidz_worker.engines.volume.pieces import Piece
from ourvidz_worker.engines.volume.weights import findings
from ourvidz_worker.errors import ConfigurationError


def convert_models(shelf: Shelf, _arguments: argparse.Namespace) -> int:
    """Exit code 1 unless each model that was named loads as fast as it can."""
    return tell_each(shelf.output, _converted(shelf))


def _converted(shelf: Shelf) -> Iterator[Told]:
    found = {copy.part: copy for copy in copies(shelf.models, shelf.settings.models_dir)}
    for piece in shelf.pieces:
        problems = findings(piece)
        copy = found.get(piece.part) if piece.key == "path" else None
        if problems:
            yield from (Told(piece.name, ok=False, sentence=problem) for problem in problems if not piece.optional)
        elif copy is None:
            yield Told(piece.name, ok=True, sentence="needs no copy, it lies as it is loaded")
        elif copy.fits:
            yield Told(piece.name, ok=True, sentence=f"has its copy already at {copy.path}")
        else:
            yield _convert(shelf, piece, copy)
    if not shelf.pieces:
        yield Told(DEMO, ok=True, sentence="needs no copy, it lies as it is loaded")


def _convert(shelf: Shelf, piece: Piece, copy: Copy) -> Told:
    from ourvidz_worker.engines.quiet import quieten_model_libraries  # noqa: PLC0415 - brings torch

    quieten_model_libraries()
    from ourvidz_worker.engines.volume.conversion import convert  # noqa: PLC0415 - brings torch

    try:
        with shown_work(f"converting {copy.source}", quiet=shelf.output.as_json):
            gain = convert(copy, shelf.models, shelf.settings.models_dir)
    except ConfigurationError as error:
        shelf.interruption.check()
        return Told(piece.name, ok=False, sentence=str(error))
    except OSError as error:
        shelf.interruption.check()
        return Told(piece.name, ok=False, sentence=f"{copy.path} cannot be written: {error.strerror or error}")
    times = f"loading took {gain.before:.1f} s before, {gain.after:.1f} s now"
    return Told(piece.name, ok=True, sentence=f"copied to {copy.path} ({size(gain.bytes)}); {times}")

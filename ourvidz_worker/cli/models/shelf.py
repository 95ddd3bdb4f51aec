"""What every `models` command works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ourvidz_worker.cli.chosen import read_models
from ourvidz_worker.cli.models.interruption import Interruption
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.engines.volume.pieces import Piece, all_pieces
from ourvidz_worker.settings import HubSettings

DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Shelf:
    """`pieces` are the ones that were named; all, where none was. `demo` is whether the models of the package are."""

    settings: HubSettings
    models: ModelsConfig
    pieces: tuple[Piece, ...]
    output: Output
    interruption: Interruption
    demo: bool


class UnknownName(ValueError):
    """Neither a table of `models.toml` nor one of its keys that names weights."""


def open_shelf(settings: HubSettings, output: Output, names: Sequence[str], interruption: Interruption) -> Shelf:
    """Raises `ConfigurationError` for the files in `configs/`, and `UnknownName`."""
    models = read_models(ConfigFiles(settings.config_dir))
    pieces = all_pieces(models, settings.models_dir)
    known = [*dict.fromkeys(piece.part for piece in pieces), *(piece.name for piece in pieces), DEMO]
    for name in names:
        if name not in known:
            raise UnknownName(f"there is nothing called {name} in models.toml: use {', '.join(known)}")
    chosen = tuple(piece for piece in pieces if not names or piece.part in names or piece.name in names)
    return Shelf(settings, models, chosen, output, interruption, demo=not names or DEMO in names)

"""`completion`: a script for a shell, with the names of this installation's own catalogue, models and cards.

What an argument is called in the help decides how it is completed: FILE, FOLDER, TYPE, QUEUE and so on.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import shtab

from ourvidz_worker.cli.chosen import chosen_files, read_catalogue, read_models
from ourvidz_worker.cli.main import build_parser
from ourvidz_worker.cli.plan.cards import parse_cards
from ourvidz_worker.engines.volume.pieces import all_pieces
from ourvidz_worker.settings import VolumeSettings, read_settings


def run(arguments: argparse.Namespace) -> int:
    parser = build_parser()
    names, ways = _names(), {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY}
    ways["TYPE|FILE.json"] = _type_or_storyboard(names["TYPE"])
    for action in _actions(parser):
        called = str(action.metavar)
        if called in names:
            action.choices = names[called]
        elif called in ways:
            action.complete = ways[called]  # type: ignore[attr-defined]  # where shtab looks for it
    print(shtab.complete(parser, arguments.shell))
    return 0


def _names() -> dict[str, Sequence[str]]:
    """Raises `ConfigurationError` for the files in `configs/`."""
    files = chosen_files()
    catalogue = read_catalogue(files)
    pieces = all_pieces(read_models(files), read_settings(VolumeSettings).models_dir)
    return {
        "TYPE": list(catalogue),
        "QUEUE": sorted({job_type.queue for job_type in catalogue.values()}),
        "MODEL": [*dict.fromkeys(piece.part for piece in pieces), *(piece.name for piece in pieces)],
        "CARD,…": list(parse_cards(files.text("cards.toml"), str(files.path("cards.toml"))).cards),
        "SCHEDULER": list(next(row.limits.solvers for row in catalogue.values() if row.model_family == "sdxl")),
    }


def _type_or_storyboard(types: Sequence[str]) -> dict[str, Any]:
    """`_file` in a function's name has bash treat what it prints as file names."""
    words, function = " ".join(types), "_ourvidz_type_or_file"
    bash = f"""
{function}() {{
  compgen -W {shlex.quote(words)} -- "$1"
  compgen -f -X '!*.json' -- "$1"
  compgen -d -- "$1"
}}"""
    zsh = f"""
{function}() {{
  _alternative {shlex.quote(f"types:job type:({words})")} 'files:storyboard:_files -g "*.json"'
}}"""
    return {"bash": function, "zsh": function, "tcsh": f"({words})", "preamble": {"bash": bash, "zsh": zsh}}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to look at them
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from _actions(below)
        yield action

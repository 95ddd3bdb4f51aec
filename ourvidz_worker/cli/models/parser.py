"""The arguments of `models` and everything below it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name


def add_models(commands: Commands) -> None:
    text = "look after the weights on the volume"
    models = commands.add_parser("models", help=text, description=f"{text[:1].upper()}{text[1:]}.")
    actions = models.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _action(actions, "list", "what models.toml asks for, where it lies, and what of it is there", "list sdxl")
    _action(actions, "fetch", "download what is missing from its source; goes on where it broke off", "fetch wan.path")
    verify = _action(actions, "verify", "compare what is there with what it should be", "verify --full")
    verify.add_argument("--full", action="store_true", help="read everything and compare its hashes, too")
    _action(actions, "convert", "write a copy that loads faster, once", "convert sdxl")


def _action(actions: Commands, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=f"example: ourvidz-worker models {example}",
    )
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a table of models.toml, or a key like sdxl.vae (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(module="models.command", action=name)
    return parser

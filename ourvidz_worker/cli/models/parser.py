"""The arguments of `models` and everything below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ourvidz_worker.cli.commands import CommandParser, Commands, command, group

_INTERRUPTED = {130: "interrupted; give the same command again to go on", 143: "ended by SIGTERM; the same"}


def add_models(commands: Commands) -> None:
    actions = group(
        commands,
        "models",
        "look after the weights on the volume",
        examples=["models list", "models fetch wan qwen"],
    )
    _action(
        actions,
        "list",
        "what models.toml asks for, where it lies, and what of it is there",
        examples=["models list", "models list sdxl --json"],
        exit_codes={0: "listed, whatever is missing", 1: "the volume cannot be read"},
    )
    _action(
        actions,
        "fetch",
        "download what is missing from its source; goes on where it broke off",
        examples=["models fetch --needed", "models fetch wan.path"],
        exit_codes={0: "all of it is in place", 1: "something is still missing", **_INTERRUPTED},
    )
    verify = _action(
        actions,
        "verify",
        "compare what is there with what it should be",
        examples=["models verify", "models verify --full sdxl"],
        exit_codes={0: "all of it is whole", 1: "something is missing, cut off or changed", **_INTERRUPTED},
    )
    verify.add_argument("--full", action="store_true", help="read everything and compare its hashes, too")
    _action(
        actions,
        "convert",
        "write a copy that loads faster, once",
        examples=["models convert sdxl"],
        exit_codes={0: "every copy is there", 1: "a copy could not be written", **_INTERRUPTED},
    )


def _action(
    actions: Commands, name: str, text: str, *, examples: Sequence[str], exit_codes: Mapping[int, str]
) -> CommandParser:
    parser = command(actions, name, "models.command", text, examples=examples, exit_codes=exit_codes)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "names",
        metavar="MODEL",
        nargs="*",
        default=[],
        help="a table of models.toml, demo among them, or a key like sdxl.vae (default: all)",
    )
    chosen.add_argument("--needed", action="store_true", help="what the workers of this pod load, and nothing else")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(action=name)
    return parser

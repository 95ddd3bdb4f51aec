"""How a command is declared: help with examples and exit codes, and a single line for wrong use.

Light: every start of the program declares all commands, and imports the module of one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from ourvidz_worker.cli.exit_codes import COMMON, USAGE_EXIT, meanings

Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"  # noqa: SLF001 - argparse has no public name
PROGRAM = "ourvidz-worker"


class CommandParser(argparse.ArgumentParser):
    """`examples` are what follows the program's name; `exit_codes` say what each code means here."""

    examples: Sequence[str] = ()
    exit_codes: Mapping[int, str] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def format_help(self) -> str:
        examples = [f"{PROGRAM} {example}".rstrip() for example in self.examples]
        codes = [f"{code:<5}{meaning}" for code, meaning in self.exit_codes.items()]
        return super().format_help() + _section("examples", examples) + _section("exit codes", codes)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_EXIT, f"{self.prog}: {' '.join(message.split())}; see --help\n")

    def parse_known_args(  # type: ignore[override]  # typeshed has overloads for every kind of namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The command that was given something unknown complains itself, for it knows what is close."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self._not_known(unknown[0]))
        return found, unknown

    def _not_known(self, word: str) -> str:
        if not word.startswith("-"):
            return f"{word!r} is one argument too many"
        options = [name for action in self._actions for name in action.option_strings]
        return f"there is no option {word}{_close(word.partition('=')[0], options)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        hint = _close(str(value), names) or f": use {', '.join(names[:-1])} or {names[-1]}"
        if isinstance(action.choices, dict):  # commands, whose names nobody calls an argument
            raise argparse.ArgumentError(None, f"there is no command {value!r}{hint}")
        raise argparse.ArgumentError(action, f"there is no {value!r}{hint}")


def command(
    commands: Commands,
    name: str,
    module: str,
    text: str,
    *,
    examples: Sequence[str],
    exit_codes: Mapping[int, str] | None = None,
    codes: tuple[int, ...] = COMMON,
) -> CommandParser:
    """A command that `run(arguments)` of `ourvidz_worker.cli.<module>` carries out.

    `text` says what it does, in a line that begins small and has no full stop. `examples` begin after the program's
    name. `exit_codes` puts into words what a code means here, where the common words do not say enough; `codes` are
    those that it may end with besides.
    """
    parser = _added(commands, name, text)
    parser.set_defaults(module=module)
    parser.examples = examples
    parser.exit_codes = meanings(codes, exit_codes or {})
    return parser


def group(commands: Commands, name: str, text: str, *, examples: Sequence[str]) -> Commands:
    """A command that has commands of its own."""
    parser = _added(commands, name, text)
    parser.examples = examples
    parser.exit_codes = meanings(COMMON, {})
    return below(parser)


def below(parser: CommandParser) -> Commands:
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def port(text: str) -> int:
    """The type of a `--port`."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text!r}")
    return number


def _added(commands: Commands, name: str, text: str) -> CommandParser:
    return commands.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")


def _section(title: str, lines: Iterable[str]) -> str:
    return f"\n{title}:\n" + "".join(f"  {line}\n" for line in lines)


def _close(word: str, names: Sequence[str]) -> str:
    import difflib  # noqa: PLC0415 - only who is wrong waits for it

    near = difflib.get_close_matches(word, names, n=1)
    return f" (did you mean {near[0]}?)" if near else ""

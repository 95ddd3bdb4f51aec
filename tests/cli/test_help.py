"""Every command explains itself: what it does, examples that work, what its exit codes mean."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ourvidz_worker.cli.commands import CommandParser
from ourvidz_worker.cli.exit_codes import USAGE_EXIT
from ourvidz_worker.cli.main import build_parser
from tests.support.commands import ROOT
from tests.support.said import said_by


def _tree(parser: CommandParser) -> Iterator[CommandParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from _tree(below)


def _arguments(parser: CommandParser) -> list[argparse.Action]:
    """Those that a command has of its own."""
    return [a for a in parser._actions if a.option_strings != ["-h", "--help"] and not isinstance(a.choices, dict)]


PARSERS = list(_tree(build_parser()))
every_command = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
EXAMPLES = [example for parser in PARSERS for example in parser.examples]


@every_command
def test_help_says_what_how_and_what_comes_of_it(parser: CommandParser) -> None:
    said = parser.format_help()
    assert said.startswith(f"usage: {parser.prog}")
    assert parser.description
    assert parser.description.endswith(".")
    assert "\nexamples:\n  ourvidz-worker " in said
    assert "\nexit codes:\n  0    " in said
    assert {0, 1, USAGE_EXIT, 78} <= set(parser.exit_codes)


@every_command
def test_each_argument_is_explained_with_its_default(parser: CommandParser) -> None:
    for action in _arguments(parser):
        assert action.help, action.dest
        if action.nargs != 0:
            assert action.metavar or action.choices, action.dest
        if action.default not in (None, False, argparse.SUPPRESS):
            assert "(default" in action.help, action.dest


@every_command
def test_each_example_is_of_the_command_and_can_be_given(parser: CommandParser) -> None:
    assert parser.examples
    for example in parser.examples:
        words, _, _ = example.partition(" > ")
        assert f"ourvidz-worker {words} ".startswith(f"{parser.prog} ")
        assert build_parser().parse_args(shlex.split(words)).module


def test_files_of_this_repository_in_examples_are_there() -> None:
    named = {
        word for example in EXAMPLES for word in shlex.split(example) if re.match(r"(tests|configs|scripts)/", word)
    }
    assert named
    for pattern in named:
        assert list(ROOT.glob(pattern)), pattern


@every_command
def test_wrong_use_is_one_line(parser: CommandParser, capsys: pytest.CaptureFixture[str]) -> None:
    said = said_by(capsys, *parser.prog.split()[1:], "--nonsense")
    assert (said.code, said.out) == (USAGE_EXIT, "")
    assert said.err.startswith(f"{parser.prog}: ")
    assert said.err.endswith("; see --help\n")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("sumbit", "ourvidz-worker: there is no command 'sumbit' (did you mean submit?)"),
        ("queue daed list", "ourvidz-worker queue: there is no command 'daed' (did you mean dead?)"),
        ("models xyz", "there is no command 'xyz': use list, fetch, verify or convert"),
        (
            "submit image_fast --promt=cat",
            "ourvidz-worker submit: there is no option --promt=cat (did you mean --prompt?)",
        ),
        ("submit image_fast --prom cat", "there is no option --prom (did you mean --prompt?)"),
        ("submit image_fast --images 2", "argument --images: there is no 2: use 1, 3 or 6"),
        ("submit image_fast video_fast", "ourvidz-worker submit: 'video_fast' is one argument too many"),
        ("submit image_fast --seed 'a\nb'", "argument --seed: invalid int value"),
        ("local --port 70000", "argument --port: must be a port from 0 to 65535, got '70000'"),
        ("queue dead drop", "one of the arguments ID --all is required"),
        ("queue dead", "ourvidz-worker queue dead: the following arguments are required: COMMAND"),
    ],
)
def test_wrong_use_says_what_is_near(capsys: pytest.CaptureFixture[str], given: str, said: str) -> None:
    heard = said_by(capsys, *shlex.split(given))
    assert heard.code == USAGE_EXIT
    assert said in heard.err
    assert heard.err.count("\n") == 1


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"ourvidz-worker \d+\.\d+\S*\n", said_by(capsys, "--version").out)


def test_help_imports_nothing_heavy() -> None:
    """It comes at once because no library is imported before a command runs."""
    script = (
        "import sys, contextlib\n"
        "from ourvidz_worker.cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(['queue', 'dead', 'list', '--help'])\n"
        "ours = {name for name in sys.modules if name.startswith('ourvidz_worker.cli.')}\n"
        "assert not [name for name in ours if name.endswith('command')], ours\n"
        "foreign = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(*sorted(name for name in foreign if not name.startswith('_')), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.startswith("usage: ourvidz-worker queue dead list")
    assert result.stderr.split() == ["ourvidz_worker"]

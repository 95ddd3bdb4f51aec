"""`scripts/model`: many worlds of the delivery protocol in virtual time, and the story of each broken promise."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console

from tests.model.climate import CLIMATES
from tests.model.game import Outcome, play
from tests.model.rules import RULES

_SHOWN = 5
_ALL = "all"


@dataclass(slots=True)
class Tally:
    """What many worlds add up to."""

    worlds: int = 0
    seconds: float = 0.0
    generations: int = 0
    late: int = 0
    blind: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.worlds += 1
        self.seconds += outcome.seconds
        self.generations += sum(outcome.generations.values())
        self.late += outcome.late
        self.blind += outcome.blind
        self.statuses.update(outcome.statuses.values())
        if outcome.violation is not None:
            self.violations[outcome.violation.kind] += 1


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    names = list(CLIMATES) if arguments.climate == _ALL else [arguments.climate]
    seeds = range(arguments.seed, arguments.seed + arguments.worlds)
    tasks = [(names[seed % len(names)], seed, arguments.without) for seed in seeds]
    tally, begun = Tally(), time.perf_counter()
    with multiprocessing.Pool(min(arguments.processes, len(tasks))) as pool:
        for name, outcome in pool.imap_unordered(_play, tasks, chunksize=4):
            tally.add(outcome)
            if outcome.violation is not None and tally.violations.total() <= _SHOWN:
                _say(f"climate {name!r}, {outcome.story()}\n")
            elif arguments.worlds == 1:
                _say("\n".join(outcome.timeline))
    _report(tally, time.perf_counter() - begun)
    return 1 if tally.violations else 0


def _play(task: tuple[str, int, str | None]) -> tuple[str, Outcome]:
    name, seed, without = task
    if without is None:
        outcome = play(seed, CLIMATES[name])
    else:
        with next(rule for rule in RULES if rule.name == without).without():
            outcome = play(seed, CLIMATES[name])
    return name, outcome


def _report(tally: Tally, seconds: float) -> None:
    lines: Iterable[tuple[str, object]] = (
        ("worlds", f"{tally.worlds} in {seconds:.1f} s, {tally.worlds / seconds:.1f} a second"),
        ("virtual hours", f"{tally.seconds / 3600:.1f}"),
        ("jobs", f"{tally.statuses.total()}, as the product has them: {dict(tally.statuses.most_common())}"),
        ("generations", tally.generations),
        ("late starts", f"{tally.late} after the end, by no worker's fault"),
        ("blind failures", f"{tally.blind} over a completed that could not be read"),
        ("broken promises", dict(tally.violations) or "none"),
    )
    for name, value in lines:
        _say(f"{name:<16} {value}")


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/model", description=__doc__)
    parser.add_argument("--worlds", type=_positive, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first world's seed; one world is told in full")
    parser.add_argument("--climate", choices=(_ALL, *CLIMATES), default=_ALL, help="what bad luck there is")
    parser.add_argument("--without", choices=[rule.name for rule in RULES], help="switch a rule off")
    parser.add_argument("--processes", type=_positive, default=os.cpu_count() or 1, help="(default: %(default)s)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


if __name__ == "__main__":
    sys.exit(main())

"""`plan`: the load of the arguments, put to every card."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

from ourvidz_worker.cli.chosen import chosen_files, read_catalogue
from ourvidz_worker.cli.commands import PROGRAM
from ourvidz_worker.cli.exit_codes import USAGE_EXIT
from ourvidz_worker.cli.plan.cards import CardList, RentedCard, parse_cards
from ourvidz_worker.cli.plan.output import answer, as_json, print_plan
from ourvidz_worker.cli.plan.seconds import expected_seconds, measured_seconds
from ourvidz_worker.cli.plan.sizing import Goal, Part, Size, Unfit, size
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.control import ExitCode


class _WrongUse(Exception):
    """What was asked for does not exist, or does not go together."""


def run(arguments: argparse.Namespace) -> int:
    """Raises `ConfigurationError` for a file that is wrong."""
    files = chosen_files()
    catalogue = read_catalogue(files)
    listed = parse_cards(files.text("cards.toml"), str(files.path("cards.toml")))
    try:
        cards = _cards(arguments, listed)
        _require_known("job type", arguments.mix, catalogue)
    except _WrongUse as error:
        print(f"{PROGRAM} plan: {error}; see --help", file=sys.stderr)
        return USAGE_EXIT
    measured = measured_seconds(arguments.measured) if arguments.measured else {}
    goal = Goal(arguments.wait, arguments.utilisation)
    found = [size(_parts(arguments, catalogue, card, measured), card, listed, goal) for card in cards]
    sizes = sorted((one for one in found if isinstance(one, Size)), key=lambda one: (one.usd_per_hour, one.pods))
    unfit = [one for one in found if isinstance(one, Unfit)]
    parts = _parts(arguments, catalogue, cards[0], measured)
    sentence = answer(sizes[0] if sizes else None, arguments.jobs_per_hour)
    notes = _notes(arguments.mix, measured, listed)
    if arguments.json:
        print(json.dumps(as_json(sizes, unfit, parts, sentence=sentence, notes=notes), indent=2))
    else:
        print_plan(sizes, unfit, parts, sentence=sentence, notes=notes)
    return ExitCode.OK if sizes else ExitCode.INTERNAL


def _cards(arguments: argparse.Namespace, listed: CardList) -> list[RentedCard]:
    names: Sequence[str] = arguments.card
    _require_known("card", names, listed.cards)
    if arguments.measured and len(names) != 1:
        raise _WrongUse("--measured needs one --card: the one that the worker ran on")
    return [listed.cards[name] for name in names] or list(listed.cards.values())


def _require_known(what: str, names: Sequence[str] | Mapping[str, float], known: Mapping[str, object]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise _WrongUse(f"there is no {what} {unknown[0]!r}: use {', '.join(known)}")


def _parts(
    arguments: argparse.Namespace, catalogue: Catalogue, card: RentedCard, measured: Mapping[str, float]
) -> list[Part]:
    shares: Mapping[str, float] = arguments.mix
    parts = []
    for name, share in shares.items():
        expected = expected_seconds(catalogue[name], arguments.images) / card.speed
        per_hour = arguments.jobs_per_hour * share / sum(shares.values())
        parts.append(Part(catalogue[name], per_hour, measured.get(name, expected)))
    return parts


def _notes(mix: Mapping[str, float], measured: Mapping[str, float], listed: CardList) -> list[str]:
    guessed = [name for name in mix if name not in measured]
    if not guessed:
        return []
    source = f"the catalogue's expected seconds on the {listed.reference.name}, by each card's speed"
    return [f"{', '.join(guessed)}: {source}; --measured knows better"]

"""What the content policy must decide: prompts kept as data, and prompts made from terms and techniques."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.runtime.policy import TextPolicy
from tests.policy.disguises import DISGUISES, LONG_TERMS, SLIPS, TERMS

HERE = Path(__file__).parent
RULES = HERE.parent.parent / "configs" / "policy"
HELDOUT = ("heldout", "heldout_later", "heldout_third", "heldout_fourth")
_MODELS = {"everywhere": (True, False), "adult_capable": (True,), "not_adult_capable": (False,)}
_MINOR_AGES, _ADULT_AGES = (4, 9, 13, 17), (21, 34, 58)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a prompt must be refused on a model that is adult-capable or is not."""

    group: str
    prompt: str
    adult_capable: bool
    refused: bool

    @property
    def is_right(self) -> bool:
        return refuses(self.prompt, adult_capable=self.adult_capable) is self.refused


@lru_cache(maxsize=1)
def policy() -> TextPolicy:
    return TextPolicy.parse(rule_texts())


def rule_texts() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(RULES.glob("*.toml"))]


def refuses(prompt: str, *, adult_capable: bool) -> bool:
    try:
        policy().check(prompt, adult_capable=adult_capable)
    except ContentRefused:
        return True
    return False


def refusals() -> list[Decision]:
    """Prompts that must be refused."""
    made = [*_disguised(), *_misspelt(), *_aged("minor", _MINOR_AGES, refused=True)]
    return [*_decisions("refusals", _read("refusals.toml"), refused=True), *made]


def passes() -> list[Decision]:
    """Prompts that must pass."""
    files = (("passes", "passes.toml"), ("ordinary", "ordinary.toml"))
    kept = (_decisions(name, _read(file), refused=False) for name, file in files)
    return [*itertools.chain.from_iterable(kept), *_aged("adult", _ADULT_AGES, refused=False)]


def heldout(name: str) -> list[Decision]:
    """Prompts written before anyone looked at how the rules decide them; `name` is one of `HELDOUT`."""
    file = _read(f"{name}.toml")
    return [
        *_decisions("heldout.refusals", file["refusals"], refused=True),
        *_decisions("heldout.passes", file["passes"], refused=False),
    ]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))


def _decisions(name: str, scopes: dict[str, Any], *, refused: bool) -> Iterator[Decision]:
    for scope, groups in scopes.items():
        for group, entry in groups.items():
            prompts = entry if isinstance(entry, list) else _combined(entry)
            for prompt, adult_capable in itertools.product(prompts, _MODELS[scope]):
                yield Decision(f"{name}.{scope}.{group}", prompt, adult_capable, refused)


def _combined(table: dict[str, list[str]]) -> list[str]:
    return [" ".join(parts) for parts in itertools.product(*table.values())]


def _disguised() -> Iterator[Decision]:
    for (name, disguise), term in itertools.product(DISGUISES.items(), TERMS):
        yield Decision(f"disguises.{name.partition('.')[0]}", disguise(term), adult_capable=False, refused=True)


def _misspelt() -> Iterator[Decision]:
    for slip, word in itertools.product(SLIPS.values(), LONG_TERMS):
        yield Decision("disguises.slips", f"nude, {slip(word)}", adult_capable=False, refused=True)
        yield Decision("disguises.slips", slip(word), adult_capable=True, refused=True)


def _aged(of: str, digits: tuple[int, ...], *, refused: bool) -> Iterator[Decision]:
    for language, table in _read("ages.toml").items():
        for phrase, number in itertools.product(table["phrases"], (*digits, *table[of])):
            yield Decision(f"ages.{language}", f"nude, {phrase.format(number)}", adult_capable=False, refused=refused)

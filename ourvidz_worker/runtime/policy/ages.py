"""The ages that a prompt states, and whether they are of an adult, a minor or a thing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from ourvidz_worker.runtime.policy.meanings import Meaning
from ourvidz_worker.runtime.policy.numbers import Item, Numbers
from ourvidz_worker.runtime.policy.rules import Rules
from ourvidz_worker.runtime.policy.words import Word

_ADULT_AGE = 18
_MONTHS = 12
_LAST_GRADE = 12
_THING_AFTER = 3  # "15 year old single malt"


class Ages:
    """Finds phrases with a number that state an age, or a number reckoned from others that can be one."""

    def __init__(self, rules: Rules) -> None:
        self._phrases = rules.ages
        self._numbers = Numbers(rules)
        self._things, self._stops = rules.helpers["things"], rules.helpers["stops"]

    def meanings(self, words: Sequence[Word]) -> Iterator[Meaning]:
        """The ages in `words`, as `adult`, `minor` or what else they say; `thing_age` if they are not of a person."""
        items = self._numbers.items(words)
        texts = [item.text for item in items]
        for index, item in enumerate(items):
            if item.computed and item.number is not None and item.number < _ADULT_AGE:
                yield Meaning("young", item.first, item.last, is_age=True)
            for end, kind in self._phrases.at(texts, index):
                span = items[index:end]
                meanings = {m for i in span if i.number is not None for m in _meanings_of_age(kind, i.number)}
                if meanings and self._is_of_thing(items, index, end):
                    meanings.add("thing_age")
                for meaning in meanings:
                    yield Meaning(meaning, span[0].first, span[-1].last, is_age=True)

    def _is_of_thing(self, items: Sequence[Item], first: int, last: int) -> bool:
        """A whisky, a tree or a car right before or after an age."""
        after = (item.text for item in items[last : last + _THING_AFTER])
        following = itertools.takewhile(lambda text: text not in self._stops, after)
        return any(text in self._things for text in following) or (first > 0 and items[first - 1].text in self._things)


def _meanings_of_age(kind: str, value: int) -> tuple[str, ...]:
    if kind in ("grades", "maybe_grades"):
        is_school = 1 <= value <= _LAST_GRADE
        return () if not is_school else ("minor",) if kind == "grades" else ("young", "setting")
    if kind == "under":
        return ("young", "setting") if value <= _ADULT_AGE else ()
    if (value // _MONTHS if kind == "months" else value) >= _ADULT_AGE:
        return ("adult",)
    return ("young", "setting") if kind == "maybe_years" else ("minor",)

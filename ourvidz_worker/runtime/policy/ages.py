"""The ages that a prompt states, and whether they are of an adult, a minor or a thing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ourvidz_worker.runtime.policy.meanings import Meaning
from ourvidz_worker.runtime.policy.numbers import Item, Numbers
from ourvidz_worker.runtime.policy.phrases import Keys
from ourvidz_worker.runtime.policy.rules import Rules
from ourvidz_worker.runtime.policy.words import Word

_ADULT_AGE = 18
_YOUNGEST_ALONE = 3  # a lone 1 or 2 counts or weighs something
_UNITS = {"months": 12, "maybe_months": 12, "weeks": 52, "days": 365}  # in a year
_LAST_GRADE = 13
_LONGEST_LIFE = 120
_CENTURY = 100
# Years in which living people were born, by other calendars, and how far these are ahead: Thailand's and Iran's.
_CALENDARS = ((2440, 2640, 543), (1280, 1480, -621))
_BIRTHS = ("born", "cohort")
_MAYBE = ("maybe_years", "maybe_months", "maybe_grades", "under")  # what may be of something else than a person
_THING_BEFORE = 2  # "parmigiano di 24 mesi"
_THING_AFTER = 3  # "15 year old single malt"


class Ages:
    """Finds phrases with a number that state an age, and numbers that can only be one."""

    def __init__(self, rules: Rules) -> None:
        self._phrases = rules.ages
        self._numbers = Numbers(rules)
        self._things, self._stops = rules.helpers["things"], rules.helpers["stops"]
        self._measures, self._about = rules.helpers["measures"], rules.helpers["about"]

    def meanings(self, words: Sequence[Word], keys: Sequence[Keys]) -> list[Meaning]:
        """The ages in `words`, as `adult`, `minor` or what else they say; `thing_age` if they are not of a person."""
        stated = list(self._stated(words, keys))
        elapsed = [age for age in stated if age.kind == "elapsed"]
        return [age for age in stated if not any(age.is_within(span) for span in elapsed)]

    def _stated(self, words: Sequence[Word], keys: Sequence[Keys]) -> Iterator[Meaning]:
        items = self._numbers.items(words, keys)
        item_keys = [item.keys for item in items]
        for index, item in enumerate(items):
            if item.number is not None and item.number < _ADULT_AGE and (item.computed or self._is_alone(item, words)):
                yield Meaning("young", item.first, item.last, is_age=True)
            for end, phrase in self._phrases.at(item_keys, index):
                span = items[index:end]
                numbers = [
                    i.number
                    for i in span
                    if i.number is not None and (not i.languages or phrase.language in i.languages)
                ]
                is_date = len(numbers) > 1 and phrase.kind in _BIRTHS  # "born June 5, 2013"
                if item.number is None and not is_date and words[item.first].clause != words[span[-1].first].clause:
                    continue  # "1girl, 3 cats"
                meanings = {meaning for number in numbers for meaning in _meanings_of_age(phrase.kind, number)}
                if end < len(items) and items[end].text in self._measures:
                    continue
                if meanings and self._is_of_thing(items, index, end):
                    meanings.add("thing_age")
                for meaning in meanings:
                    yield Meaning(meaning, span[0].first, span[-1].last, is_age=True, language=phrase.language)

    def _is_of_thing(self, items: Sequence[Item], first: int, last: int) -> bool:
        """A whisky, a tree or a car right before or after an age."""
        after = (item.text for item in items[last : last + _THING_AFTER])
        following = itertools.takewhile(lambda text: text not in self._stops, after)
        before = (item.text for item in items[max(0, first - _THING_BEFORE) : first])
        return any(text in self._things for text in itertools.chain(before, following))

    def _is_alone(self, item: Item, words: Sequence[Word]) -> bool:
        """Whether a number is a tag by itself, as in "(16)", ", sixteen," or ", about 16,"."""
        number, tag = item.number or 0, words[item.first].tag
        first = item.first
        while first and words[first - 1].tag == tag and words[first - 1].text in self._about:
            first -= 1
        return (
            not item.bound
            and number == int(number) >= _YOUNGEST_ALONE
            and (first == 0 or words[first - 1].tag != tag)
            and (item.last == len(words) or words[item.last].tag != tag)
        )


def _meanings_of_age(kind: str, value: float) -> tuple[str, ...]:
    match kind:
        case "grades" | "maybe_grades":
            is_minor, is_adult = 1 <= value <= _LAST_GRADE, False
        case "under":
            is_minor, is_adult = value <= _ADULT_AGE, False
        case "over":
            is_minor, is_adult = False, value >= _ADULT_AGE
        case "counted" | "elapsed":
            return (kind,)
        case _:
            age = _years(kind, value)
            is_minor = age is not None and age < _ADULT_AGE
            is_adult = age is not None and _ADULT_AGE <= age <= _LONGEST_LIFE
    if is_minor:
        return ("young", "setting") if kind in _MAYBE else ("minor",)
    return ("adult",) if is_adult else ()


def _years(kind: str, value: float) -> float | None:
    if kind in _BIRTHS:
        this_year = datetime.now(tz=UTC).year
        age = this_year - _birth_year(kind, value, this_year) - 1  # before this year's birthday
        return age if -1 <= age <= _LONGEST_LIFE else None
    return value // _UNITS.get(kind, 1)


def _birth_year(kind: str, value: float, this_year: int) -> float:
    """The year of the common era; a `cohort` of two digits is the last one that was so."""
    if kind == "cohort" and value < _CENTURY:
        return this_year - (this_year - value) % _CENTURY
    return value - next((ahead for first, last, ahead in _CALENDARS if first <= value <= last), 0)

"""Numbers in digits or words, and the sums, differences, parts and ranges that stand for a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ourvidz_worker.runtime.policy.phrases import Keys
from ourvidz_worker.runtime.policy.rules import Rules
from ourvidz_worker.runtime.policy.words import Word

_OLDEST = 120  # above it a difference is of years or prices, not of ages
_FIRST_YEAR = 1900
_LAST_DAY = 31
_MOST_DIGITS = 9
_TEN, _HUNDRED = 10, 100
_PAIR = 2
_NUMBER: Keys = ("#",)


@dataclass(frozen=True, slots=True)
class Item:
    """A word, or the words of one number, which phrases find under `#` and its unit.

    `computed` where the number itself is not written anywhere.
    """

    text: str
    keys: Keys
    first: int
    last: int
    number: float | None = None
    computed: bool = False
    languages: frozenset[int] = frozenset()  # in whose phrases alone the number counts; none for all
    bound: bool = False  # counts in phrases alone


class Numbers:
    """Reads numbers with the words and operators of the rules."""

    def __init__(self, rules: Rules) -> None:
        self._words, self._operators = rules.numbers, rules.operators
        self._factors, self._units, self._eras = rules.factors, rules.units, rules.eras
        self._joiners = rules.helpers["joiners"]

    def items(self, words: Sequence[Word], keys: Sequence[Keys]) -> list[Item]:
        """The words, with each number, calculation or range as one item `#`; of a range the lower end counts."""
        texts = [word.text for word in words]
        items: list[Item] = []
        index = 0
        while index < len(texts):
            may_be_number = keys[index] or texts[index][0].isdecimal()
            number = self._reckoned(texts, keys, index) if may_be_number else None
            items.append(number or Item(texts[index], keys[index], index, index + 1))
            index = items[-1].last
        return items

    def _reckoned(self, texts: Sequence[str], keys: Sequence[Keys], first: int) -> Item | None:
        total = self._part(texts, keys, first)
        while total and total.last < len(texts):
            operators = list(self._operators.at(keys, total.last))
            if not operators:
                break
            end, operator = max(operators)
            operand = self._part(texts, keys, end) if end < len(texts) else None
            value = None if operand is None else _calculated(operator, _value(total), _value(operand))
            if operand is None or value is None:
                break
            is_range = value in (total.number, operand.number) and value == min(_value(total), _value(operand))
            total = Item("#", _NUMBER, first, operand.last, value, computed=total.computed or not is_range)
        return total

    def _part(self, texts: Sequence[str], keys: Sequence[Keys], first: int) -> Item | None:
        """A number with what multiplies it: "half of 30", "1.5 decades", "half a dozen"."""
        start, factor = max(self._factors.at(keys, first), default=(first, 1.0))
        if start == len(texts):
            return None
        number = self._number(texts, keys, start)
        last = number.last if number else start
        end, unit = max(self._units.at(keys, last), default=(last, 0.0))
        if number is None and not unit:
            return None
        value = (_value(number) if number else 1.0) * factor * (unit or 1.0)
        return Item(
            "#",
            (*(number.keys if number else _NUMBER), *texts[last:end]),
            first,
            end,
            value,
            computed=start > first and not unit,
            languages=number.languages if number else frozenset(),
            bound=bool(number and number.bound),
        )

    def _number(self, texts: Sequence[str], keys: Sequence[Keys], first: int) -> Item | None:
        """A number, or the year of an era: Heisei 25."""
        start, before = max(self._eras.at(keys, first), default=(first, 0))
        number = self._plain_number(texts, keys, start) if start < len(texts) else None
        if start == first or number is None:
            return number
        return Item("#", _NUMBER, first, number.last, before + _value(number))

    def _plain_number(self, texts: Sequence[str], keys: Sequence[Keys], first: int) -> Item | None:
        """Digits, or number words from the largest down: "twenty five", "quarenta e cinco"."""
        if texts[first][0].isdecimal():
            return Item("#", _NUMBER, first, first + 1, _digits(texts[first]))
        last, value = self._number_word(keys, first)
        if last == first:
            return None
        read_as = [word for end, word in self._words.at(keys, first) if end == last]
        spoken, bound = {word.language for word in read_as}, all(word.bound for word in read_as)
        languages = frozenset(language for language in spoken if language is not None)
        while value and last < len(texts):
            unit = _HUNDRED if value % _HUNDRED == 0 else _TEN
            after = last + (texts[last] in self._joiners and last + 1 < len(texts))
            end, smaller = self._number_word(keys, after)
            if value % unit or not 0 < smaller < unit:
                break
            last, value = end, value + smaller
        if None in spoken:
            return Item("#", _NUMBER, first, last, value, bound=bound)
        itself = keys[first] if last == first + 1 else ()  # "on" is ten in Turkish, and a word in "born on"
        return Item("#", (*_NUMBER, *itself), first, last, value, languages=languages, bound=bound)

    def _number_word(self, keys: Sequence[Keys], first: int) -> tuple[int, int]:
        return max(((end, word.value) for end, word in self._words.at(keys, first)), default=(first, 0))


def _value(item: Item) -> float:
    return item.number or 0


def _digits(text: str) -> float:
    """15, 15.5 or 15,5; of more parts the year of a date or the smallest."""
    parts = [part[:_MOST_DIGITS] for part in re.split("[.,]", text)]
    if len(parts) == _PAIR:
        return float(".".join(parts))
    last = int(parts[-1])
    return last if last >= _FIRST_YEAR else min(map(int, parts))


def _calculated(operator: str, left: float, right: float) -> float | None:
    """What the operator makes of two numbers, the lower end for a range; None if they are of no age.

    Of a date such as 5/2013 the year counts.
    """
    if operator == "range" and min(left, right) <= _LAST_DAY and max(left, right) >= _FIRST_YEAR:
        return max(left, right)
    if operator == "range" or (operator == "minus" and left < right):  # an ascending "18-25"
        return min(left, right)
    if operator == "from":  # "3 short of 18"
        left, right = right, left
    if operator == "minus" or operator == "from":  # noqa: PLR1714 - reads as the two cases that they are
        return left - right if right <= left <= _OLDEST else None
    if operator == "plus":
        return left + right
    if operator == "times":
        return left * right
    return left / right if right else None

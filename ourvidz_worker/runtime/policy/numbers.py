"""Numbers in digits or words, and the sums and differences that stand for a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ourvidz_worker.runtime.policy.rules import Rules
from ourvidz_worker.runtime.policy.words import Word

_OLDEST = 120  # above it a difference is of years or prices, not of ages
_MOST_DIGITS = 9
_TEN, _HUNDRED = 10, 100


@dataclass(frozen=True, slots=True)
class Item:
    """A word, or the words of one number."""

    text: str
    first: int
    last: int
    number: int | None = None
    computed: bool = False


class Numbers:
    """Reads numbers with the words and operators of the rules."""

    def __init__(self, rules: Rules) -> None:
        self._words = rules.numbers
        self._plus, self._minus = rules.helpers["plus"], rules.helpers["minus"]
        self._joiners = rules.helpers["joiners"]

    def items(self, words: Sequence[Word]) -> list[Item]:
        """The words, with each number, sum or difference as one item `#`."""
        texts = [word.text for word in words]
        items: list[Item] = []
        index = 0
        while index < len(texts):
            items.append(self._sum(texts, index) or Item(texts[index], index, index + 1))
            index = items[-1].last
        return items

    def _sum(self, texts: Sequence[str], first: int) -> Item | None:
        total = self._number(texts, first)
        while total and total.last + 1 < len(texts):
            operand = self._number(texts, total.last + 1)
            if operand is None or operand.number is None or total.number is None:
                break
            operator, left, right = texts[total.last], total.number, operand.number
            if operator in self._plus:
                value = left + right
            elif operator in self._minus and right <= left <= _OLDEST:
                value = left - right  # an ascending "18-25" is a range
            else:
                break
            total = Item("#", first, operand.last, value, computed=True)
        return total

    def _number(self, texts: Sequence[str], first: int) -> Item | None:
        """Digits, or number words from the largest down: "twenty five", "quarenta e cinco"."""
        if texts[first].isdecimal():
            return Item("#", first, first + 1, int(texts[first][:_MOST_DIGITS]))
        last, value = max(self._words.at(texts, first), default=(first, 0))
        if last == first:
            return None
        while value and last < len(texts):
            unit = _HUNDRED if value % _HUNDRED == 0 else _TEN
            joined = texts[last] in self._joiners and last + 1 < len(texts)
            end, smaller = max(self._words.at(texts, last + joined), default=(last, 0))
            if value % unit or not 0 < smaller < unit:
                break
            last, value = end, value + smaller
        return Item("#", first, last, value)

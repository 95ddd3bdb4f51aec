"""What was found in a prompt, and how findings stand to each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ourvidz_worker.runtime.policy.words import Word

_YOUTH_BEFORE = 2  # how far an adjective may stand before its noun: "little blonde girl"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the words from `first` up to, not including, `last` mean; the `language` of an age in words."""

    kind: str
    first: int
    last: int
    is_age: bool = False
    language: int | None = None

    def is_within(self, other: Meaning) -> bool:
        return other.first <= self.first and self.last <= other.last


def outside(meanings: Iterable[Meaning], covers: Iterable[Meaning]) -> list[Meaning]:
    """The meanings that share no word with `covers`."""
    covered = {index for cover in covers for index in range(cover.first, cover.last)}
    return [m for m in meanings if covered.isdisjoint(range(m.first, m.last))]


def any_beside(persons: Iterable[Meaning], youth: Iterable[Meaning], words: Sequence[Word]) -> bool:
    """An adjective of youth beside one of the persons, in the same clause."""
    beside = set()
    for adjective in youth:
        clause = words[adjective.first].clause
        beside |= {(adjective.last + gap, clause) for gap in range(_YOUTH_BEFORE)}
        beside.add((-adjective.first, clause))  # right after, as in "fille jeune"
    return any(
        not beside.isdisjoint({(p.first, words[p.first].clause), (-p.last, words[p.last - 1].clause)}) for p in persons
    )


def all_adult(
    persons: Sequence[Meaning], adults: Sequence[Meaning], counted: Sequence[Meaning], words: Sequence[Word]
) -> bool:
    """Each person has "adult" or an adult age right before, or an adult age right after, in the same clause.

    Where nobody else is there, a tag of its own does too: "1girl, adult", "a girl on a sofa, 25 years old".
    """
    before, after = set(), set()
    for adult in adults:
        before.add((adult.last, words[adult.last - 1].clause))
        if adult.is_age:
            after.add((adult.first, words[adult.first].clause))
    unsaid = [
        p
        for p in persons
        if (p.first, words[p.first].clause) not in before and (p.last, words[p.last - 1].clause) not in after
    ]
    if len(outside(unsaid, counted)) <= (1 if len(persons) == 1 else 0) and not any(p.is_age for p in persons):
        return not unsaid or any(_is_tag(adult, words) for adult in adults)
    return not unsaid


def _is_tag(meaning: Meaning, words: Sequence[Word]) -> bool:
    """Whether there is nothing else between the punctuation marks around it."""
    clause = words[meaning.first].clause
    return (
        words[meaning.last - 1].clause == clause
        and (meaning.first == 0 or words[meaning.first - 1].clause != clause)
        and (meaning.last == len(words) or words[meaning.last].clause != clause)
    )

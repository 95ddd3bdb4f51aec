"""Sequences of words that the policy looks for, and how they are written in its rules."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from ourvidz_worker.runtime.policy.spelling import Spelling
from ourvidz_worker.runtime.policy.words import starts_of, words_of

T = TypeVar("T")
Pattern = tuple[str, ...]


class Phrases(Generic[T]):
    """Sequences of words with a label each; `stem*` stands for every word that begins so."""

    def __init__(self) -> None:
        self._by_first: dict[str, list[tuple[Pattern, T]]] = defaultdict(list)
        self._longest = 0

    def add(self, pattern: Pattern, label: T) -> None:
        self._by_first[pattern[0]].append((pattern, label))
        self._longest = max(self._longest, len(pattern[0]))

    def patterns(self) -> Iterator[tuple[Pattern, T]]:
        return itertools.chain.from_iterable(self._by_first.values())

    def at(self, texts: Sequence[str], first: int) -> Iterator[tuple[int, T]]:
        """Where each phrase that begins at `first` ends, with its label."""
        for start in starts_of(texts[first], self._longest):
            for pattern, label in self._by_first.get(start, ()):
                last = first + len(pattern)
                if last <= len(texts) and all(map(_fits, pattern[1:], texts[first + 1 : last])):
                    yield last, label


def patterns_of(phrases: Iterable[str], spelling: Spelling) -> Iterator[Pattern]:
    """Each phrase, folded as prompts are: `a|b` in it stands for two phrases, `#` for a number.

    Raises `ValueError` naming a phrase of which nothing is left.
    """
    for phrase in phrases:
        for parts in itertools.product(*(part.split("|") for part in phrase.split())):
            pattern = tuple(itertools.chain.from_iterable(_words_of_part(part, spelling) for part in parts))
            if not pattern:
                raise ValueError(f"the policy phrase {phrase!r} has no letter in it; remove it")
            yield pattern


def inflected(pattern: Pattern, beginnings: Sequence[str], endings: Sequence[str]) -> Iterator[Pattern]:
    """The phrase with each particle of its language at its first and last word."""
    for beginning in ("", *beginnings):
        for ending in ("", *([] if pattern[-1].endswith("*") else endings)):
            words = [*pattern[:-1], pattern[-1] + ending]
            words[0] = beginning + words[0]
            yield tuple(words)


def _words_of_part(part: str, spelling: Spelling) -> Iterator[str]:
    for piece in filter(None, re.split("([#+-])", part)):
        if piece in "#+-":
            yield piece
            continue
        texts = [word.text for word in words_of(spelling.fold(piece))]
        if piece.endswith("*") and texts:
            texts[-1] += "*"
        yield from texts


def _fits(expected: str, text: str) -> bool:
    return text.startswith(expected[:-1]) if expected.endswith("*") else text == expected

"""Known words found by what is left of their letters: leetspeak given up, repeats dropped."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable

from ourvidz_worker.runtime.policy.phrases import Lexicon

_REPEATED = re.compile(r"(.)\1+")
_SHORTEST = 3


class LetterIndex:
    """Known words by what a disguise leaves of them."""

    def __init__(self, words: Iterable[str], disguise: Callable[[str], str]) -> None:
        self._known: dict[str, str] = {}
        for word in words:
            bare = word.rstrip("*")
            if len(bare) >= _SHORTEST:
                self._known.setdefault(disguise(bare) + word[len(bare) :], bare)
        self._lexicon = Lexicon(self._known)

    def find(self, disguised: str) -> str | None:
        return next((self._known[key] for key in self._lexicon.keys(disguised)), None)


class RepeatedLetters:
    """Known words whose letters are repeated, with leetspeak or without."""

    def __init__(self, words: Collection[str], letters: Callable[[str], str]) -> None:
        self._letters = letters
        self._by_single = LetterIndex(words, _single)
        self._by_single_letters = LetterIndex(words, lambda word: _single(letters(word)))

    def find(self, text: str, *, leet: bool) -> str | None:
        letters, index = (self._letters, self._by_single_letters) if leet else (str, self._by_single)
        known = index.find(_single(letters(text)))
        return known if known and _is_stretched(letters(text), letters(known)) else None


def _is_stretched(text: str, word: str) -> bool:
    """Whether every letter of `text` stands at least as often in a row as in `word`."""
    runs = zip(itertools.groupby(text), itertools.groupby(word), strict=False)
    return all(len(list(longer)) >= len(list(run)) for (_, longer), (_, run) in runs)


def _single(text: str) -> str:
    return _REPEATED.sub(r"\1", text)

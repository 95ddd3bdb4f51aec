"""Sequences of words that the policy looks for, and how they are written in its rules."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

from ourvidz_worker.runtime.policy.spelling import Spelling
from ourvidz_worker.runtime.policy.words import kind_of, stems_of, words_of

T = TypeVar("T")
Pattern = tuple[str, ...]
Keys = tuple[str, ...]
"""Under which entries of a lexicon a word is found."""

_PREFIX = 2  # letters; stems that share them share their list of lengths
_LONGEST_PARTICLE = 3
_SIGN = re.compile("([#+/~<>-])")
_REMEMBERED = 8192  # words; nearly every prompt is made of the same few thousand


@dataclass(slots=True)
class Particles:
    """What a language writes onto words: before the first of a phrase, and after the last."""

    beginnings: set[str] = field(default_factory=set)
    endings: set[str] = field(default_factory=set)


class Lexicon:
    """Single words; `stem*` stands for every word that begins so, and words with `particles` are found under these."""

    def __init__(self, words: Iterable[str] = (), *, particles: Mapping[str, Particles] | None = None) -> None:
        self.words: set[str] = set()
        self._lengths: dict[str, list[int]] = defaultdict(list)
        self._particles = {} if particles is None else particles
        self._groups: dict[str, str] = {}
        self.keys = lru_cache(maxsize=_REMEMBERED)(self._keys)
        for word in words:
            self.add(word)

    def add(self, word: str) -> None:
        if word in self.words:
            return
        self.words.add(word)
        length = len(word) - 1
        if word[-1] == "*" and length not in (lengths := self._lengths[word[:_PREFIX]]):
            lengths.append(length)
            lengths.sort()

    def join(self, word: str, group: str) -> None:
        """Let phrases find `word` under `@group`."""
        self.add(word)
        self._groups[word] = f"@{group}"

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and bool(self.keys(text))

    def _keys(self, text: str) -> Keys:
        """The entries that `text` is found under: itself, its group, its stems, and the words that it is a form of."""
        itself = (text,) if text in self.words else ()
        group = (self._groups[text],) if text in self._groups else ()
        lengths = self._lengths.get(text[:_PREFIX], ())
        stems = (stem for stem in stems_of(text, lengths) if stem in self.words)
        return (*itself, *group, *stems, *(() if text.isascii() else self._bare(text)))

    def _bare(self, text: str) -> Iterator[str]:
        for start, end in itertools.product(range(_LONGEST_PARTICLE + 1), repeat=2):
            word = text[start : len(text) - end]
            if start + end and word in self.words and (particles := self._particles.get(word)):
                beginning, ending = text[:start], text[len(text) - end :]
                if (not start or beginning in particles.beginnings) and (not end or ending in particles.endings):
                    yield word


@dataclass(slots=True)
class _Node(Generic[T]):
    labels: list[T] = field(default_factory=list)
    following: dict[str, _Node[T]] = field(default_factory=dict)


class Phrases(Generic[T]):
    """Sequences of words with a label each, found through the keys that `lexicon` has for each word."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._root: _Node[T] = _Node()
        self._patterns: list[tuple[Pattern, T]] = []

    def add(self, pattern: Pattern, label: T) -> None:
        node = self._root
        known = self._lexicon.words
        for word in pattern:
            if word not in known:
                self._lexicon.add(word)
            following = node.following.get(word)
            if following is None:
                following = node.following[word] = _Node()
            node = following
        node.labels.append(label)
        self._patterns.append((pattern, label))

    def patterns(self) -> Iterator[tuple[Pattern, T]]:
        return iter(self._patterns)

    def at(self, keys: Sequence[Keys], first: int) -> Iterator[tuple[int, T]]:
        """Where each phrase that begins at `first` ends, with its label."""
        nodes = [self._root]
        for index in range(first, len(keys)):
            nodes = [following for node in nodes for key in keys[index] if (following := node.following.get(key))]
            if not nodes:
                return
            for node in nodes:
                yield from ((index + 1, label) for label in node.labels)


def patterns_of(phrases: Iterable[str], spelling: Spelling) -> Iterator[Pattern]:
    """Each phrase, folded as prompts are: `a|b` in it stands for two phrases, `#` for a number, `@group` for its words.

    Raises `ValueError` naming a phrase of which nothing is left.
    """
    for phrase in phrases:
        choices = [[_words_of_part(part, spelling) for part in parts.split("|")] for parts in phrase.split()]
        for words in itertools.product(*choices):
            pattern = words[0] if len(words) == 1 else tuple(itertools.chain.from_iterable(words))
            if not pattern:
                raise ValueError(f"the policy phrase {phrase!r} has no letter in it; remove it")
            yield pattern


@lru_cache(maxsize=_REMEMBERED)
def _words_of_part(part: str, spelling: Spelling) -> tuple[str, ...]:
    if part.isascii() and (part.isalpha() or part[0] == "@"):
        return (part.lower(),)
    words: list[str] = []
    for piece in filter(None, _SIGN.split(part)) if _SIGN.search(part) else (part,):
        if piece in "#+/~<>-":
            words.append(piece)
            continue
        texts = _texts_of(spelling.fold(piece))
        if piece.endswith("*") and texts:
            texts[-1] += "*"
        words += texts
    return tuple(words)


def _texts_of(folded: str) -> list[str]:
    """What `words_of` finds, at once where all characters are of one kind: most phrases are."""
    match list({kind_of(character) for character in folded}):
        case ["letters"]:
            return [folded]
        case ["sign"]:
            return list(folded)
        case _:
            return [word.text for word in words_of(folded)]

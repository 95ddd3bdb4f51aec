"""The adults-only gate: which prompts are refused before a model sees them.

The rules are data: `configs/policy/`, one file per language, with what each list means at the top of `english.toml`.

- On every model, sexual terms refuse together with a minor, or with a word such as "girl" unless an adult age or the
  word "adult" stands beside it. Harmless meanings ("kid leather", "15 year old whisky") do not count in such a prompt,
  because they would be the way round the gate.
- On adult-capable models any depiction of a minor refuses, harmless meanings excepted.

Negation is not understood, on purpose: an image model does not understand it either.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.runtime.normalisation import Spelling, Vocabulary, Word, starts_of, words_of

T = TypeVar("T")
Pattern = tuple[str, ...]

ADULT_AGE = 18
_MONTHS = 12
_LAST_GRADE = 12
_YOUTH_BEFORE = 2  # how far an adjective may stand before its noun: "little blonde girl"
_THING_AFTER = 3  # "15 year old single malt"
_OLDEST = 120  # above it a difference is of years or prices, not of ages
_MOST_DIGITS = 9
_LONGEST_PARTICLE = 3  # "com" or "the" in a phrase of age says nothing when it turns up inside another word
_TEN, _HUNDRED = 10, 100

_TELLING = ("forbidden", "sexual", "minor", "young")
_TERMS = (*_TELLING, "youth", "not_sexual", "setting", "adult", "grown", "harmless")
_AGES = ("years", "maybe_years", "months", "grades", "maybe_grades", "under")
_LISTS: Mapping[str, tuple[str, ...]] = {
    "words": _TERMS,
    "words_in_context": (*_TERMS, "markers"),
    "ages": (*_AGES, "things", "stops"),
    "arithmetic": ("minus", "plus", "joiners"),
    "inflection": ("beginnings", "endings"),
}
_MAPS: Mapping[str, type] = {"numbers": int, "lookalikes": str, "leet": str}
_NEEDED = (("words", "sexual"), ("words", "minor"), ("ages", "years"))


@dataclass(frozen=True, slots=True)
class _Term:
    kind: str
    language: int
    in_context: bool  # counts only in a prompt with another word of its language


@dataclass(frozen=True, slots=True)
class _Found:
    """What the words from `first` up to, not including, `last` mean."""

    kind: str
    first: int
    last: int
    is_age: bool = False


@dataclass(frozen=True, slots=True)
class _Item:
    """A word, or the words of one number."""

    text: str
    first: int
    last: int
    number: int | None = None
    computed: bool = False


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one reading of a prompt says: `youth` counts what may be a minor, `minor` what can mean nothing else."""

    forbidden: bool
    sexual: bool
    youth: bool
    minor: bool


class _Phrases(Generic[T]):
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


class ContentPolicy:
    """Decides over prompts. Pure: the same prompt gets the same answer, whoever asks."""

    def __init__(self, files: Sequence[Mapping[str, Any]]) -> None:
        """`files` in the form that `parse` has checked."""
        self._spelling = Spelling(dict(_characters(files, "lookalikes")))
        self._terms: _Phrases[_Term] = _Phrases()
        self._ages: _Phrases[str] = _Phrases()
        self._numbers: _Phrases[int] = _Phrases()
        self._helpers: dict[str, set[str]] = defaultdict(set)
        for language, file in enumerate(files):
            self._learn(language, file)
        self._vocabulary = Vocabulary(
            self._hidden_words(), telling=self._hidden_terms(), leet=dict(_characters(files, "leet"))
        )

    @classmethod
    def parse(cls, texts: Sequence[str]) -> ContentPolicy:
        """Build the policy from the texts of its TOML files.

        Raises `ValueError` naming the table and key that is unknown, malformed or missing.
        """
        files = [_parsed(text, number) for number, text in enumerate(texts, start=1)]
        for table, key in _NEEDED:
            if not any(file.get(table, {}).get(key) for file in files):
                raise ValueError(f"no policy file has an entry in [{table}] {key}; restore the shipped files")
        return cls(files)

    def check(self, prompt: str, *, adult_capable: bool) -> None:
        """Raise `ContentRefused` if no model, or no adult-capable one, may see the prompt.

        Not for negative prompts, which rightly name what must not appear. The error repeats nothing of the prompt.
        """
        verdicts = [self._judge(reading) for reading in self._readings(prompt)]
        sexual = any(verdict.sexual for verdict in verdicts)
        if (
            any(verdict.forbidden for verdict in verdicts)
            or (sexual and any(verdict.youth for verdict in verdicts))
            or (adult_capable and any(verdict.minor for verdict in verdicts))
        ):
            raise ContentRefused("the content policy refuses this prompt; submit one that describes something else")

    def _readings(self, prompt: str) -> Iterator[list[Word]]:
        for folded in self._spelling.readings(prompt):
            plain = words_of(folded)
            yield plain
            respelt = self._vocabulary.respelt(folded, plain)
            if respelt != plain:
                yield respelt

    def _judge(self, words: Sequence[Word]) -> _Verdict:
        found: dict[str, list[_Found]] = defaultdict(list)
        for meaning in itertools.chain(self._find_terms(words), self._find_ages(words)):
            found[meaning.kind].append(meaning)
        young = _outside(found["young"], found["grown"])
        peopled = any(not f.is_age for f in young + found["minor"])
        harmless = [f for f in found["harmless"] if words[f.first].clause == words[f.last - 1].clause]
        harmless += [] if peopled else found["thing_age"]

        maybe_minors = [f for f in _outside(young, harmless) if not f.is_age]
        look_young = bool(_outside(found["setting"], harmless)) or _any_beside(
            maybe_minors, _outside(found["youth"], harmless), words
        )
        return _Verdict(
            forbidden=bool(found["forbidden"]),
            sexual=bool(_outside(found["sexual"], found["not_sexual"])),
            youth=bool(found["minor"]) or not _all_adult(young, found["adult"], words),
            minor=bool(_outside(found["minor"], harmless) or (maybe_minors and look_young)),
        )

    def _find_terms(self, words: Sequence[Word]) -> list[_Found]:
        texts = [word.text for word in words]
        matches = [(first, last, term) for first in range(len(texts)) for last, term in self._terms.at(texts, first)]
        spoken = {term.language for *_, term in matches if term.kind == "markers" or not term.in_context}
        return [
            _Found(term.kind, first, last)
            for first, last, term in matches
            if not term.in_context or term.language in spoken
        ]

    def _find_ages(self, words: Sequence[Word]) -> Iterator[_Found]:
        items = self._numbered(words)
        texts = [item.text for item in items]
        for index, item in enumerate(items):
            if item.computed and item.number is not None and item.number < ADULT_AGE:
                yield _Found("young", item.first, item.last, is_age=True)
            for end, kind in self._ages.at(texts, index):
                span = items[index:end]
                meanings = {m for i in span if i.number is not None for m in _meanings_of_age(kind, i.number)}
                if meanings and self._is_of_thing(items, index, end):
                    meanings.add("thing_age")
                for meaning in meanings:
                    yield _Found(meaning, span[0].first, span[-1].last, is_age=True)

    def _is_of_thing(self, items: Sequence[_Item], first: int, last: int) -> bool:
        """A whisky, a tree or a car right before or after an age."""
        things = self._helpers["things"]
        after = (item.text for item in items[last : last + _THING_AFTER])
        following = itertools.takewhile(lambda text: text not in self._helpers["stops"], after)
        return any(text in things for text in following) or (first > 0 and items[first - 1].text in things)

    def _numbered(self, words: Sequence[Word]) -> list[_Item]:
        """The words, with each number, sum or difference as one item `#`."""
        texts = [word.text for word in words]
        items: list[_Item] = []
        index = 0
        while index < len(texts):
            items.append(self._sum(texts, index) or _Item(texts[index], index, index + 1))
            index = items[-1].last
        return items

    def _sum(self, texts: Sequence[str], first: int) -> _Item | None:
        total = self._number(texts, first)
        while total and total.last + 1 < len(texts):
            operand = self._number(texts, total.last + 1)
            if operand is None or operand.number is None or total.number is None:
                break
            operator, left, right = texts[total.last], total.number, operand.number
            if operator in self._helpers["plus"]:
                value = left + right
            elif operator in self._helpers["minus"] and right <= left <= _OLDEST:
                value = left - right  # an ascending "18-25" is a range
            else:
                break
            total = _Item("#", first, operand.last, value, computed=True)
        return total

    def _number(self, texts: Sequence[str], first: int) -> _Item | None:
        """Digits, or number words from the largest down: "twenty five", "quarenta e cinco"."""
        if texts[first].isdecimal():
            return _Item("#", first, first + 1, int(texts[first][:_MOST_DIGITS]))
        last, value = max(self._numbers.at(texts, first), default=(first, 0))
        if last == first:
            return None
        while value and last < len(texts):
            unit = _HUNDRED if value % _HUNDRED == 0 else _TEN
            joined = texts[last] in self._helpers["joiners"] and last + 1 < len(texts)
            end, smaller = max(self._numbers.at(texts, last + joined), default=(last, 0))
            if value % unit or not 0 < smaller < unit:
                break
            last, value = end, value + smaller
        return _Item("#", first, last, value)

    def _learn(self, language: int, file: Mapping[str, Any]) -> None:
        inflection = {key: file.get("inflection", {}).get(key, []) for key in _LISTS["inflection"]}
        for table in ("words", "words_in_context"):
            for kind, phrases in file.get(table, {}).items():
                term = _Term(kind, language, in_context=table == "words_in_context")
                for pattern in self._patterns(phrases):
                    for form in _inflected(pattern, **inflection):
                        self._terms.add(form, term)
        for kind, phrases in [*file.get("ages", {}).items(), *file.get("arithmetic", {}).items()]:
            for pattern in self._patterns(phrases):
                if kind in _AGES:
                    self._ages.add(pattern, kind)
                else:
                    self._helpers[kind].add(pattern[0])
        for phrase, value in file.get("numbers", {}).items():
            for pattern in self._patterns([phrase]):
                self._numbers.add(pattern, value)

    def _patterns(self, phrases: Iterable[str]) -> Iterator[Pattern]:
        """Each phrase, folded as prompts are: `a|b` in it stands for two phrases, `#` for a number."""
        for phrase in phrases:
            for parts in itertools.product(*(part.split("|") for part in phrase.split())):
                pattern = tuple(itertools.chain.from_iterable(map(self._pattern_words, parts)))
                if not pattern:
                    raise ValueError(f"the policy phrase {phrase!r} has no letter in it; remove it")
                yield pattern

    def _pattern_words(self, part: str) -> Iterator[str]:
        for piece in filter(None, re.split("([#+-])", part)):
            if piece in "#+-":
                yield piece
                continue
            texts = [word.text for word in words_of(self._spelling.fold(piece))]
            if piece.endswith("*") and texts:
                texts[-1] += "*"
            yield from texts

    def _hidden_terms(self) -> Iterator[str]:
        """The single words that are worth looking for inside others, the worst first."""
        for kind in _TELLING:
            for pattern, term in self._terms.patterns():
                if term.kind == kind and len(pattern) == 1 and not term.in_context:
                    yield pattern[0]

    def _hidden_words(self) -> Iterator[str]:
        """Every word that is worth recognising under a disguise, the worst first."""
        yield from self._hidden_terms()
        for pattern, term in self._terms.patterns():
            if term.kind == "youth" and len(pattern) == 1:
                yield pattern[0]
        for pattern, _ in self._numbers.patterns():
            yield from pattern
        for pattern, _ in self._ages.patterns():
            yield from (word for word in pattern if len(word) > _LONGEST_PARTICLE or not word.isascii())


def _fits(expected: str, text: str) -> bool:
    return text.startswith(expected[:-1]) if expected.endswith("*") else text == expected


def _inflected(pattern: Pattern, beginnings: Sequence[str], endings: Sequence[str]) -> Iterator[Pattern]:
    """The phrase with each particle of its language at its first and last word."""
    for beginning in ("", *beginnings):
        for ending in ("", *([] if pattern[-1].endswith("*") else endings)):
            words = [*pattern[:-1], pattern[-1] + ending]
            words[0] = beginning + words[0]
            yield tuple(words)


def _meanings_of_age(kind: str, value: int) -> tuple[str, ...]:
    if kind in ("grades", "maybe_grades"):
        is_school = 1 <= value <= _LAST_GRADE
        return () if not is_school else ("minor",) if kind == "grades" else ("young", "setting")
    if kind == "under":
        return ("young", "setting") if value <= ADULT_AGE else ()
    if (value // _MONTHS if kind == "months" else value) >= ADULT_AGE:
        return ("adult",)
    return ("young", "setting") if kind == "maybe_years" else ("minor",)


def _outside(meanings: Iterable[_Found], covers: Iterable[_Found]) -> list[_Found]:
    """The meanings that share no word with `covers`."""
    covered = {index for cover in covers for index in range(cover.first, cover.last)}
    return [m for m in meanings if covered.isdisjoint(range(m.first, m.last))]


def _any_beside(persons: Iterable[_Found], youth: Iterable[_Found], words: Sequence[Word]) -> bool:
    """An adjective of youth beside one of the persons, in the same clause."""
    beside = set()
    for adjective in youth:
        clause = words[adjective.first].clause
        beside |= {(adjective.last + gap, clause) for gap in range(_YOUTH_BEFORE)}
        beside.add((-adjective.first, clause))  # right after, as in "fille jeune"
    return any(
        not beside.isdisjoint({(p.first, words[p.first].clause), (-p.last, words[p.last - 1].clause)}) for p in persons
    )


def _all_adult(persons: Iterable[_Found], adults: Iterable[_Found], words: Sequence[Word]) -> bool:
    """Each person has "adult" or an adult age right before, or an adult age right after, in the same clause."""
    before, after = set(), set()
    for adult in adults:
        before.add((adult.last, words[adult.last - 1].clause))
        if adult.is_age:
            after.add((adult.first, words[adult.first].clause))
    return all(
        (p.first, words[p.first].clause) in before or (p.last, words[p.last - 1].clause) in after for p in persons
    )


def _characters(files: Sequence[Mapping[str, Any]], table: str) -> Iterator[tuple[str, str]]:
    for file in files:
        for target, drawn_like in file.get(table, {}).items():
            for character in drawn_like:
                yield character, target


def _parsed(text: str, number: int) -> dict[str, Any]:
    try:
        file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"policy file {number} is not TOML: {error}") from error
    for table, content in file.items():
        if table not in _LISTS and table not in _MAPS:
            known = ", ".join([*_LISTS, *_MAPS])
            raise ValueError(f"policy file {number} has an unknown table [{table}]; known are {known}")
        if not isinstance(content, dict):
            raise ValueError(f"policy file {number}: {table} must be a table, not {content!r}")  # noqa: TRY004
        for key, value in content.items():
            _check_entry(number, table, key, value)
    return file


def _check_entry(number: int, table: str, key: str, value: object) -> None:
    if table in _LISTS:
        if key not in _LISTS[table]:
            raise ValueError(f"policy file {number} has an unknown key [{table}] {key}; use {', '.join(_LISTS[table])}")
        if not isinstance(value, list) or not all(isinstance(phrase, str) and phrase.strip() for phrase in value):
            raise ValueError(f"policy file {number}: [{table}] {key} must be a list of phrases, not {value!r}")
    elif not isinstance(value, _MAPS[table]) or isinstance(value, bool):
        raise ValueError(
            f"policy file {number}: [{table}] {key} must be of type {_MAPS[table].__name__}, not {value!r}"
        )

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
from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from ourvidz_worker.collections_off import without_collections
from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.runtime.policy.ages import Ages
from ourvidz_worker.runtime.policy.meanings import Meaning, all_adult, any_beside, outside
from ourvidz_worker.runtime.policy.notation import versions
from ourvidz_worker.runtime.policy.phrases import Keys
from ourvidz_worker.runtime.policy.rules import Rules
from ourvidz_worker.runtime.policy.words import Word, words_of

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

_EXCUSES = ("not_sexual", "not_minor", "grown", "adult", "harmless", "thing_age")
_SENTENCE = "the content policy refuses this prompt; submit one that describes something else"
# Weights of prompt languages, whichever of them the engine reads.
_BELOW_ZERO = re.compile(r"[)\]\"':(,]\s?-\s?\.?\d")  # "(word)-1", "(word:-1)", ".blend(1, -1)"
_BELOW_ONE = re.compile(r"[)\]\"']\s?0*\.\d|:\s?0*\.\d+\s?[)\]]|[\w)]-+(?=[\s,.;:)]|$)")  # "(word)0.1", "word--"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one reading of a prompt says: `youth` counts what may be a minor, `minor` what can mean nothing else."""

    forbidden: bool
    sexual: bool
    youth: bool
    minor: bool
    peopled: bool  # with what could be a minor if nothing said otherwise
    denies_adults: bool


class TextPolicy:
    """The `ContentPolicy` that reads. Pure but for the year, by which "born in" is an age; it accepts all pictures.

    What the last `remembered` texts say is not read again: the product sends one negative prompt with nearly every job.
    """

    def __init__(self, rules: Rules, *, remembered: int = 0) -> None:
        self._rules = rules
        self._read = lru_cache(remembered)(self._read_in)
        self._ages = Ages(rules)
        self._vocabulary = rules.vocabulary()

    @classmethod
    def parse(cls, texts: Sequence[str], *, remembered: int = 0) -> TextPolicy:
        """Build the policy from the texts of its TOML files.

        Raises `ValueError` naming the table and key that is unknown, malformed or missing.
        """
        with without_collections():
            return cls(Rules.parse(texts), remembered=remembered)

    def check(self, prompt: str, *, adult_capable: bool) -> None:
        """Raise `ContentRefused` if no model, or no adult-capable one, may see the prompt.

        The error repeats nothing of the prompt.
        """
        if _is_refused(self._verdicts(prompt), adult_capable=adult_capable):
            raise ContentRefused(_SENTENCE)

    def check_negative(self, negative_prompt: str, *, prompt: str, adult_capable: bool) -> None:
        """Raise `ContentRefused` for a negative prompt that asks for what the prompt may not say.

        It rightly names what must not appear, so "child" passes. What it may not do: deny that the persons of a sexual
        prompt are adults, or reach the picture after all through a weight below zero.
        """
        verdicts = self._verdicts(negative_prompt)
        if _BELOW_ZERO.search(negative_prompt) and _is_refused(
            [*verdicts, *self._verdicts(prompt)], adult_capable=adult_capable
        ):
            raise ContentRefused(_SENTENCE)
        if any(verdict.denies_adults for verdict in verdicts) and any(
            shown.sexual or (adult_capable and shown.peopled) for shown in self._verdicts(prompt)
        ):
            raise ContentRefused(_SENTENCE)

    def is_sexual(self, text: str) -> bool:
        return any(verdict.sexual for verdict in self._verdicts(text))

    def check_pictures(self, pictures: Pixels, *, adult_capable: bool) -> None:
        """Words are all that this policy judges."""

    def _verdicts(self, text: str) -> tuple[_Verdict, ...]:
        return self._read(text, datetime.now(tz=UTC).year)

    def _read_in(self, text: str, _year: int) -> tuple[_Verdict, ...]:
        excusing = not _BELOW_ONE.search(text)
        return tuple(self._judge(words, excusing=excusing) for words in self._readings(text))

    def _readings(self, text: str) -> Iterator[list[Word]]:
        for version in versions(text):
            for folded in self._rules.spelling.readings(version):
                plain = words_of(folded)
                yield plain
                respelt = self._vocabulary.respelt(folded, plain)
                if respelt != plain:
                    yield respelt

    def _judge(self, words: Sequence[Word], *, excusing: bool) -> _Verdict:
        """`excusing` is false where a weight may silence the word that makes another one harmless."""
        keys = [self._rules.lexicon.keys(word.text) for word in words]
        found: dict[str, list[Meaning]] = defaultdict(list)
        ages = self._ages.meanings(words, keys)
        spoken = {age.language for age in ages}
        for meaning in itertools.chain(self._find_terms(keys, spoken), ages):
            if excusing or meaning.kind not in _EXCUSES:
                found[meaning.kind].append(meaning)
        minors, young, settings, youth = (
            outside(found[kind], found["not_minor"]) for kind in ("minor", "young", "setting", "youth")
        )
        young = outside(young, found["grown"])
        places = [] if found["adult"] else outside(found["place"], [*found["not_minor"], *found["grown"]])
        peopled = any(not f.is_age for f in young + minors)
        harmless = [f for f in found["harmless"] if words[f.first].clause == words[f.last - 1].clause]
        harmless += [] if peopled else found["thing_age"]

        maybe_minors = [f for f in outside(young, harmless) if not f.is_age]
        look_young = bool(outside(settings, harmless)) or any_beside(maybe_minors, outside(youth, harmless), words)
        adult = not look_young and all_adult(young, found["adult"], found["counted"], words)
        return _Verdict(
            forbidden=bool(found["forbidden"]),
            sexual=bool(outside(found["sexual"], found["not_sexual"])),
            youth=bool(minors or places) or not (adult or not young),
            minor=bool(outside(minors, harmless) or (maybe_minors and look_young)),
            peopled=bool(maybe_minors),
            denies_adults=bool(found["denied"]) or any(f.is_age for f in found["adult"]),
        )

    def _find_terms(self, keys: Sequence[Keys], spoken: Container[int | None]) -> list[Meaning]:
        """Those of any language, and those that count in context where the prompt speaks their language."""
        matches = [
            (first, last, term)
            for first, known in enumerate(keys)
            if known
            for last, term in self._rules.terms.at(keys, first)
        ]
        marked = {term.language for *_, term in matches if term.kind == "markers" or not term.in_context}
        return [
            Meaning(term.kind, first, last)
            for first, last, term in matches
            if not term.in_context or term.language in marked or term.language in spoken
        ]


def _is_refused(verdicts: Sequence[_Verdict], *, adult_capable: bool) -> bool:
    sexual = any(verdict.sexual for verdict in verdicts)
    return (
        any(verdict.forbidden for verdict in verdicts)
        or (sexual and any(verdict.youth for verdict in verdicts))
        or (adult_capable and any(verdict.minor for verdict in verdicts))
    )

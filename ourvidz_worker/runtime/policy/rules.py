"""What the policy knows: the phrases of all rule files together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ourvidz_worker.runtime.policy.phrases import Phrases, inflected, patterns_of
from ourvidz_worker.runtime.policy.rule_file import AGES, RuleFile, parse_rule_file
from ourvidz_worker.runtime.policy.spelling import Spelling
from ourvidz_worker.runtime.policy.vocabulary import Vocabulary

_NEEDED = (("words", "sexual"), ("words", "minor"), ("ages", "years"))
_LONGEST_PARTICLE = 3  # "com" or "the" in a phrase of age says nothing when it turns up inside another word
_TELLING = ("forbidden", "sexual", "minor", "young")


@dataclass(frozen=True, slots=True)
class Term:
    """What a phrase means; its `language` is the number of its rule file."""

    kind: str
    language: int
    in_context: bool  # counts only in a prompt with another word of its language


class Rules:
    """Terms, ages and numbers as phrases; `helpers` are the single words of the small lists, by list."""

    def __init__(self, files: Sequence[RuleFile]) -> None:
        """`files` in the form that `parse_rule_file` has checked."""
        self.spelling = Spelling(dict(_characters(files, "lookalikes")))
        self.terms: Phrases[Term] = Phrases()
        self.ages: Phrases[str] = Phrases()
        self.numbers: Phrases[int] = Phrases()
        self.helpers: Mapping[str, set[str]] = defaultdict(set)
        self._leet = dict(_characters(files, "leet"))
        for language, file in enumerate(files):
            self._learn_terms(language, file)
            self._learn_ages(file)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Rules:
        """Read the texts of the TOML files.

        Raises `ValueError` naming the table and key that is unknown, malformed or missing.
        """
        files = [parse_rule_file(text, number) for number, text in enumerate(texts, start=1)]
        for table, key in _NEEDED:
            if not any(file.get(table, {}).get(key) for file in files):
                raise ValueError(f"no policy file has an entry in [{table}] {key}; restore the shipped files")
        return cls(files)

    def vocabulary(self) -> Vocabulary:
        """The words that are worth finding under a disguise."""
        return Vocabulary(self._hidden_words(), telling=self._hidden_terms(), leet=self._leet)

    def _learn_terms(self, language: int, file: RuleFile) -> None:
        particles = file.get("inflection", {})
        for table in ("words", "words_in_context"):
            for kind, phrases in file.get(table, {}).items():
                term = Term(kind, language, in_context=table == "words_in_context")
                for pattern in patterns_of(phrases, self.spelling):
                    for form in inflected(pattern, particles.get("beginnings", []), particles.get("endings", [])):
                        self.terms.add(form, term)

    def _learn_ages(self, file: RuleFile) -> None:
        for kind, phrases in [*file.get("ages", {}).items(), *file.get("arithmetic", {}).items()]:
            for pattern in patterns_of(phrases, self.spelling):
                if kind in AGES:
                    self.ages.add(pattern, kind)
                else:
                    self.helpers[kind].add(pattern[0])
        for phrase, value in file.get("numbers", {}).items():
            for pattern in patterns_of([phrase], self.spelling):
                self.numbers.add(pattern, value)

    def _hidden_terms(self) -> Iterator[str]:
        """The single words that are worth looking for inside others, the worst first."""
        for kind in _TELLING:
            for pattern, term in self.terms.patterns():
                if term.kind == kind and len(pattern) == 1 and not term.in_context:
                    yield pattern[0]

    def _hidden_words(self) -> Iterator[str]:
        """Every word that is worth recognising under a disguise, the worst first."""
        yield from self._hidden_terms()
        for pattern, term in self.terms.patterns():
            if term.kind == "youth" and len(pattern) == 1:
                yield pattern[0]
        for pattern, _ in self.numbers.patterns():
            yield from pattern
        for pattern, _ in self.ages.patterns():
            yield from (word for word in pattern if len(word) > _LONGEST_PARTICLE or not word.isascii())


def _characters(files: Sequence[RuleFile], table: str) -> Iterator[tuple[str, str]]:
    for file in files:
        for target, drawn_like in file.get(table, {}).items():
            for character in drawn_like:
                yield character, target

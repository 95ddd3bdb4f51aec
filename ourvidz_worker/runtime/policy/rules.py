"""What the policy knows: the phrases of all rule files together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ourvidz_worker.runtime.policy.phrases import Lexicon, Particles, Phrases, patterns_of
from ourvidz_worker.runtime.policy.rule_file import AGES, GROUPS, HELPERS, OPERATORS, RuleFile, parse_rule_file
from ourvidz_worker.runtime.policy.spelling import Spelling
from ourvidz_worker.runtime.policy.vocabulary import Vocabulary

_NEEDED = (("words", "sexual"), ("words", "minor"), ("ages", "years"))
_LONGEST_FILLER = 3
_LONGEST_SHARED = 4  # letters of a number that is another word in another language
_TELLING = ("forbidden", "sexual", "minor", "young")
_HELPING = ("youth", "denied", "place")


@dataclass(frozen=True, slots=True)
class Term:
    """What a phrase means; its `language` is the number of its rule file."""

    kind: str
    language: int
    in_context: bool  # counts only in a prompt with another word of its language


@dataclass(frozen=True, slots=True, order=True)
class NumberWord:
    """A number; one that a short word stands for counts in phrases of its `language` alone, None counts in all.

    "On" is ten in Turkish and "elf" eleven in German.
    """

    value: int
    language: int | None
    bound: bool = False  # says nothing alone: "quarto" is fourth and a room


@dataclass(frozen=True, slots=True)
class AgePhrase:
    kind: str
    language: int


class Rules:
    """Terms, ages, numbers and what reckons with them as phrases, all found through one lexicon.

    `helpers` are the single words of the small lists, by list.
    """

    def __init__(self, files: Sequence[RuleFile]) -> None:
        """`files` in the form that `parse_rule_file` has checked."""
        self.spelling = Spelling(dict(_characters(files, "lookalikes")))
        self._particles: dict[str, Particles] = defaultdict(Particles)
        self.lexicon = Lexicon(particles=self._particles)
        self.terms: Phrases[Term] = Phrases(self.lexicon)
        self.ages: Phrases[AgePhrase] = Phrases(self.lexicon)
        self.operators: Phrases[str] = Phrases(self.lexicon)
        self.numbers: Phrases[NumberWord] = Phrases(self.lexicon)
        self.factors: Phrases[float] = Phrases(self.lexicon)
        self.units: Phrases[float] = Phrases(self.lexicon)
        self.eras: Phrases[int] = Phrases(self.lexicon)
        self.helpers: Mapping[str, set[str]] = defaultdict(set)
        self._slips = [file.get("slips", {}).get("kinds", []) for file in files]
        self._leet = dict(_characters(files, "leet"))
        for language, file in enumerate(files):
            self._learn_terms(language, file)
            self._learn_ages(language, file)
            self._learn_numbers(language, file)

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
        """The words that are worth finding under a disguise, the worst first."""
        single = self._single_terms()
        telling = [word for kind in _TELLING for word, _ in single[kind]]
        helping = [word for kind in _HELPING for word, _ in single[kind]]
        slipping = [word for kind in _TELLING for word, language in single[kind] if kind in self._slips[language]]
        numbers = list(dict.fromkeys(word for pattern, _ in self.numbers.patterns() for word in pattern))
        ages = dict.fromkeys(word for pattern, _ in self.ages.patterns() for word in pattern if _tells(word))
        words = [*telling, *helping, *numbers]
        return Vocabulary(
            [*words, *ages],
            telling=telling,
            slipping=slipping,
            numbers=numbers,
            ages=ages.keys() - set(words),
            ordinary=self.helpers["words"] | self.helpers["apart"],
            leet=self._leet,
            particles=self._particles,
            known=self.lexicon.words,
        )

    def _learn_terms(self, language: int, file: RuleFile) -> None:
        particles = file.get("inflection", {})
        for table in ("words", "words_in_context"):
            for kind, phrases in file.get(table, {}).items():
                term = Term(kind, language, in_context=table == "words_in_context")
                for pattern in patterns_of(phrases, self.spelling):
                    self.terms.add(pattern, term)
                    if particles:
                        self._particles[pattern[0]].beginnings.update(particles.get("beginnings", []))
                        self._particles[pattern[-1]].endings.update(particles.get("endings", []))

    def _learn_ages(self, language: int, file: RuleFile) -> None:
        for table in ("ages", "arithmetic", "ordinary", "groups"):
            for kind, phrases in file.get(table, {}).items():
                for pattern in patterns_of(phrases, self.spelling):
                    if kind in HELPERS:
                        self.helpers[kind].add("".join(pattern))
                    elif kind in GROUPS:
                        self.lexicon.join("".join(pattern), kind)
                    elif kind in AGES:
                        self.ages.add(pattern, AgePhrase(kind, language))
                    elif kind in OPERATORS:
                        self.operators.add(pattern, kind)

    def _learn_numbers(self, language: int, file: RuleFile) -> None:
        for table in ("numbers", "bound_numbers"):
            for phrase, value in file.get(table, {}).items():
                for pattern in patterns_of([phrase], self.spelling):
                    is_short = "".join(pattern).isascii() and len("".join(pattern)) <= _LONGEST_SHARED
                    known_in = language if is_short else None
                    self.numbers.add(pattern, NumberWord(value, known_in, bound=table == "bound_numbers"))
        tables = (("factors", self.factors), ("units", self.units), ("eras", self.eras))
        for table, known in tables:
            for phrase, value in file.get(table, {}).items():
                for pattern in patterns_of([phrase], self.spelling):
                    known.add(pattern, value)

    def _single_terms(self) -> Mapping[str, list[tuple[str, int]]]:
        """The words of each kind that count anywhere, with their languages."""
        single: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for pattern, term in self.terms.patterns():
            if len(pattern) == 1 and not term.in_context:
                single[term.kind].append((pattern[0], term.language))
        return single


def _tells(word: str) -> bool:
    """Fillers such as "com" or "the" in a phrase of age say nothing when they turn up inside another word."""
    return (len(word) > _LONGEST_FILLER and word[0] != "@") or not word.isascii()


def _characters(files: Sequence[RuleFile], table: str) -> Iterator[tuple[str, str]]:
    for file in files:
        for target, drawn_like in file.get(table, {}).items():
            for character in drawn_like:
                yield character, target

"""The words that the policy knows, found again under their disguises.

A disguise is undone only where the result is a known word, so that ordinary text keeps its ordinary reading.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from ourvidz_worker.runtime.policy.letters import LetterIndex, RepeatedLetters
from ourvidz_worker.runtime.policy.misspellings import misspellings
from ourvidz_worker.runtime.policy.phrases import Lexicon, Particles
from ourvidz_worker.runtime.policy.words import Word, kind_of, spanning

_CHUNK = re.compile(r"\S+")
_PART = re.compile(r"[^\s,;:()\[\]{}<>\"]+")
_MASK = re.compile("[*#\u2022\u25cf\u2217]")
_AROUND = ".,;:!?()[]{}\"'"
_STRETCHED = re.compile(r"(.)\1\1")  # no language does
_DOUBLED = re.compile(r"([aiuhjkqvwxy])\1")  # English hardly does, but Dutch and Finnish

_SHORTEST_SEGMENT = 3
_SHORTEST_JOINED = 5  # two ordinary words make a short term by chance, hardly ever a long one
_SHORTEST_SPACED = 4
_SEGMENTED = range(6, 41)
_SHORTEST_MISWRITTEN = 8
_SHORTEST_SINGLE = 8  # letters of a word that is no accident of two others
_RUN_ON = 20  # longer words are looked through, not only looked up
_REMEMBERED = 8192  # words


class Vocabulary:
    """The words that disguises are undone for, most telling first; `stem*` stands for every word that begins so.

    `telling` are those worth looking for inside a longer word, and `slipping` also misspelt or with a space in them.
    `numbers` and `ages` are words of ages, which say nothing without each other. `ordinary` words are never a
    disguise, `leet` maps a digit or sign to the letter it stands for, and nothing `known` is a misspelling.
    """

    def __init__(
        self,
        words: Iterable[str],
        *,
        telling: Collection[str],
        slipping: Collection[str],
        numbers: Collection[str],
        ages: Collection[str],
        ordinary: Collection[str],
        leet: Mapping[str, str],
        particles: Mapping[str, Particles],
        known: Container[str],
    ) -> None:
        self._words = dict.fromkeys(words)
        self._lexicon = Lexicon(self._words, particles=particles)
        self._ordinary = ordinary
        self._telling = {word.rstrip("*") for word in telling}
        self._joined = {word.rstrip("*") for word in slipping} | {*numbers}
        self._joined |= {word for word in self._telling if not word.isascii() or len(word) >= _SHORTEST_SINGLE}
        self._numbers = numbers
        self._ages = ages
        self._telling_lengths = sorted({len(word) for word in self._telling}, reverse=True)
        self._misspelt = misspellings(slipping, known)
        self._leet = set(leet)
        # In leetspeak a 1 is an i or an l, so both sides give up the difference.
        self._leet_letters = str.maketrans({**leet, "l": "i"})
        self._by_letters = LetterIndex(self._words, self._letters)
        self._stretched = RepeatedLetters(self._words, self._letters)
        self._doubled = RepeatedLetters(slipping, self._letters)
        self._unjoined = lru_cache(maxsize=_REMEMBERED)(self._find_unjoined)

    def respelt(self, folded: str, words: Sequence[Word]) -> list[Word]:
        """The same words with every disguise undone that hides a known word."""
        whole = self._unsplit(folded, list(words))
        joined = self._unspaced(whole)
        paired = self._unpaired(joined)
        respelt: list[Word] = []
        for word in paired:
            known = self._unjoined(word.text)
            respelt += spanning(known, [word]) if known else [word]
        return respelt

    def _unsplit(self, folded: str, words: list[Word]) -> list[Word]:
        """Undo signs inside a word, chunk by chunk: c.h-ild, l0li, n@ked."""
        result: list[Word] = []
        for chunk, inside in _grouped(words, _CHUNK.finditer(folded)):
            text = chunk.group()
            if text.isalpha():
                result += inside
                continue
            if found := self._whole(text, inside):
                result += found
                continue
            for part, own in _grouped(inside, _PART.finditer(folded, chunk.start(), chunk.end())):
                result += self._whole(part.group(), own) or own
        return result

    def _whole(self, chunk: str, words: list[Word]) -> list[Word]:
        if (masked := self._misspelt.get(_MASK.sub("*", chunk.strip(_AROUND)))) and words:
            return spanning([masked], words)
        if not words or not (len(words) > 1 or any(c in self._leet for c in chunk)):
            return []
        signed = "".join(c for c in chunk if c.isalnum() or c in self._leet)
        bare = "".join(c for c in chunk if c.isalnum())
        trimmed = signed.strip("".join(c for c in self._leet if not c.isalnum()))
        for candidate in dict.fromkeys((signed, trimmed, bare)):
            if known := self._recognise(candidate):
                return spanning(known, words)
        return []

    def _unspaced(self, words: list[Word]) -> list[Word]:
        """Undo s p a c e d words: three or more single letters in a row."""
        result: list[Word] = []
        run: list[Word] = []
        for word in [*words, None]:
            if word is not None and len(word.text) == 1 and kind_of(word.text) != "sign":
                run.append(word)
                continue
            letters = "".join(w.text for w in run)
            known = self._recognise(letters) or self._contained(letters, _SHORTEST_SPACED) if len(run) > 2 else []
            result += spanning(known, run) if known else run
            run = []
            if word is not None:
                result.append(word)
        return result

    def _unpaired(self, words: list[Word]) -> list[Word]:
        """Undo one space inside a word."""
        result: list[Word] = []
        for word in words:
            pair = result[-1].text + word.text if result else ""
            if len(pair) >= _SHORTEST_JOINED and pair in self._joined and pair not in self._ordinary:
                result.append(spanning([pair], [result.pop(), word])[0])
            else:
                result.append(word)
        return result

    def _find_unjoined(self, text: str) -> tuple[str, ...]:
        """Undo missing spaces."""
        known = self._recognise(text)
        return tuple(known if known or len(text) < _RUN_ON else self._contained(text, _SHORTEST_JOINED))

    def _recognise(self, text: str) -> list[str]:
        """The known words that `text` is a spelling of; none when there is none or it has no letter."""
        if text in self._ordinary or not any(c.isalpha() for c in text):
            return []
        if text in self._words:
            return [text]
        if text in self._lexicon:  # as the form of a word, or as a stem with another word run together
            return self._segments(text) or [text]
        known = self._misspelt.get(text) or self._miswritten(text) or self._respelt_letters(text)
        return [known] if known else self._segments(text)

    def _miswritten(self, text: str) -> str | None:
        """The known word that has another letter in one place."""
        if len(text) < _SHORTEST_MISWRITTEN or not text.isalpha():
            return None
        masked = (f"{text[:index]}*{text[index + 1 :]}" for index in range(1, len(text)))
        return next((self._misspelt[spelling] for spelling in masked if spelling in self._misspelt), None)

    def _respelt_letters(self, text: str) -> str | None:
        """The known word of leetspeak or of repeated letters."""
        leet = any(c in self._leet for c in text)
        if leet and (known := self._by_letters.find(self._letters(text))):
            return known
        stretched = self._stretched if _STRETCHED.search(text) else self._doubled if _DOUBLED.search(text) else None
        return stretched.find(text, leet=leet) if stretched else None

    def _letters(self, text: str) -> str:
        return text.translate(self._leet_letters)

    def _contained(self, text: str, shortest: int) -> list[str]:
        """Known words inside a run of letters, the longest at each place."""
        found = []
        for start in range(len(text)):
            lengths = (n for n in self._telling_lengths if n >= shortest and text[start : start + n] in self._telling)
            if length := next(lengths, 0):
                found.append(text[start : start + length])
        return found if len(found) > 1 or any(len(word) >= _SHORTEST_SINGLE for word in found) else []

    def _segments(self, text: str) -> list[str]:
        """`text` as two or more known words without a gap, or nothing."""
        shortest = 1 if _is_hangul(text[0]) else _SHORTEST_SEGMENT
        if len(text) not in _SEGMENTED and not (_is_hangul(text[0]) and len(text) < _SEGMENTED.stop):
            return []
        # tails[i] holds the words of text[i:], filled from the back, so its longest pieces come first.
        tails: dict[int, list[str]] = {len(text): []}
        for start in range(len(text) - shortest, -1, -1):
            for end in [end for end in tails if end - start >= shortest]:
                piece = text[start:end]
                if piece in self._words or (end == len(text) and start and piece in self._lexicon):
                    tails[start] = [piece, *tails[end]]
                    break
        found = tails.get(0, [])
        numbers = sum(piece in self._numbers for piece in found)
        ages = any(piece in self._ages for piece in found)
        return found if numbers == len(found) or bool(numbers) == ages else []


def _grouped(words: list[Word], spans: Iterable[re.Match[str]]) -> Iterator[tuple[re.Match[str], list[Word]]]:
    """Each span, in the order of the text, with the words that begin in it."""
    position = 0
    for span in spans:
        first = position
        while position < len(words) and words[position].start < span.end():
            position += 1
        yield span, words[first:position]


def _is_hangul(character: str) -> bool:
    return "\uac00" <= character <= "\ud7a3"

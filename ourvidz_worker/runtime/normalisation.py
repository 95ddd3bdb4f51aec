"""Reading a prompt as a person would: alphabets, marks and tricks folded into plain words.

A prompt becomes a list of `Word`s. `Spelling` folds characters; `Vocabulary` undoes disguises of whole words, and only
where the result is a word that the policy knows, so that ordinary text keeps its ordinary reading.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["letters", "digits", "katakana", "sign", "gap"]

_HIDDEN_CATEGORIES = {"Cf", "Cc", "Cs", "Co", "Cn", "Me"}
# Fillers, blanks and variation selectors that Unicode files under letters and marks; the Arabic stretching stroke.
_HIDDEN = set("\u034f\u0640\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0xFE00, 0xFE10)}
_KEPT_MARKS = {0, 8, 9}  # vowel signs, kana voicing, virama: without them Hindi and Japanese words change
_CLAUSE_ENDS = set(",.;!?\n。、،؛؟।")  # after folding, which maps the full-width ones
_CHUNK = re.compile(r"\S+")
_PART = re.compile(r"[^\s,;:()\[\]{}<>\"]+")
_REPEATED = re.compile(r"(.)\1+")
_STRETCHED = re.compile(r"(.)\1\1|([aiuhjkqvwxy])\2")  # no language doubles these often
_OPERATOR = re.compile(r"(?<=\d)\s*([-\u2013\u2212+])(?=\s*\d)")
_THOUSANDS = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")

_SHORTEST_SEGMENT = 3
_SHORTEST_JOINED = 5  # two ordinary words make a short term by chance, hardly ever a long one
_SHORTEST_SPACED = 4
_SEGMENTED = range(6, 41)
_RUN_ON = 20  # longer words are looked through, not only looked up


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the folded text with its place; `clause` counts the punctuation marks before it."""

    text: str
    start: int
    end: int
    clause: int


class Spelling:
    """Folds characters; `lookalikes` maps a character to the one it is drawn like."""

    def __init__(self, lookalikes: Mapping[str, str]) -> None:
        self._lookalikes = str.maketrans(dict(lookalikes))

    def readings(self, text: str) -> Iterator[str]:
        """The folded text with invisible characters dropped and, if there were any, with spaces in their place."""
        visible = "".join(c for c in text if not _is_hidden(c))
        yield self.fold(visible)
        if len(visible) != len(text):
            yield self.fold("".join(" " if _is_hidden(c) else c for c in text))

    def fold(self, text: str) -> str:
        """Compatibility forms, case, accents, digits of other scripts and look-alikes, folded."""
        # Look-alikes go first and last: a capital Greek eta is drawn like H, a small one like n.
        compatible = unicodedata.normalize("NFKC", text).translate(self._lookalikes)
        decomposed = unicodedata.normalize("NFKD", compatible.casefold())
        marked = "".join(c for c in decomposed if not _is_hidden(c) and unicodedata.combining(c) in _KEPT_MARKS)
        digits = "".join(_ascii_digit(c) for c in unicodedata.normalize("NFC", marked))
        return _THOUSANDS.sub("", digits.translate(self._lookalikes).casefold())


def words_of(folded: str) -> list[Word]:
    """Runs of letters, digits or katakana; Han, hiragana, pictographs and `+ -` between digits are a word each."""
    operators = {match.start(1) for match in _OPERATOR.finditer(folded)}
    words: list[Word] = []
    start, clause = 0, 0
    for end in range(1, len(folded) + 1):
        kind = "operator" if end - 1 in operators else _kind(folded[end - 1])
        if kind == "operator":
            words.append(Word("+" if folded[start] == "+" else "-", start, end, clause))
        elif kind == "gap":
            clause += folded[end - 1] in _CLAUSE_ENDS
        elif kind == "sign" or end == len(folded) or _kind(folded[end]) != kind:
            words.append(Word(folded[start:end], start, end, clause))
        else:
            continue
        start = end
    return words


def starts_of(text: str, longest: int) -> Iterator[str]:
    """The keys under which a word may be listed: itself, then each of its stems, written `stem*`."""
    yield text
    for length in range(2, min(len(text), longest) + 1):
        yield text[:length] + "*"


class Vocabulary:
    """The words that disguises are undone for, most telling first; `stem*` stands for every word that begins so.

    `telling` are those worth looking for across a space or inside a longer word; `leet` maps a digit or sign to the
    letter it stands for.
    """

    def __init__(self, words: Iterable[str], *, telling: Iterable[str], leet: Mapping[str, str]) -> None:
        self._words = dict.fromkeys(words)
        self._longest = max(map(len, self._words), default=0)
        self._telling = {word.rstrip("*") for word in telling}
        self._telling_lengths = sorted({len(word) for word in self._telling}, reverse=True)
        self._leet = set(leet)
        # In leetspeak a 1 is an i or an l, so both sides give up the difference.
        self._leet_letters = str.maketrans({**leet, "l": "i"})
        self._by_letters = self._index(self._letters)
        self._by_single = self._index(_single)
        self._by_single_letters = self._index(lambda word: _single(self._letters(word)))

    def respelt(self, folded: str, words: Sequence[Word]) -> list[Word]:
        """The same words with every disguise undone that hides a known word."""
        whole = self._unsplit(folded, list(words))
        joined = self._unspaced(whole)
        paired = self._unpaired(joined)
        return [Word(text, w.start, w.end, w.clause) for w in paired for text in self._unjoined(w.text) or [w.text]]

    def _unsplit(self, folded: str, words: list[Word]) -> list[Word]:
        """Undo signs inside a word, chunk by chunk: c.h-ild, l0li, n@ked."""
        result: list[Word] = []
        for chunk, inside in _grouped(words, _CHUNK.finditer(folded)):
            if found := self._whole(chunk.group(), inside):
                result += found
                continue
            for part, own in _grouped(inside, _PART.finditer(folded, chunk.start(), chunk.end())):
                result += self._whole(part.group(), own) or own
        return result

    def _whole(self, chunk: str, words: list[Word]) -> list[Word]:
        if not words or not (len(words) > 1 or any(c in self._leet for c in chunk)):
            return []
        signed = "".join(c for c in chunk if c.isalnum() or c in self._leet)
        bare = "".join(c for c in chunk if c.isalnum())
        trimmed = signed.strip("".join(c for c in self._leet if not c.isalnum()))
        for candidate in dict.fromkeys((signed, trimmed, bare)):
            if known := self._recognise(candidate):
                return [Word(text, words[0].start, words[-1].end, words[0].clause) for text in known]
        return []

    def _unspaced(self, words: list[Word]) -> list[Word]:
        """Undo s p a c e d words: three or more single letters in a row."""
        result: list[Word] = []
        run: list[Word] = []
        for word in [*words, None]:
            if word is not None and len(word.text) == 1 and _kind(word.text) != "sign":
                run.append(word)
                continue
            letters = "".join(w.text for w in run)
            known = self._recognise(letters) or self._contained(letters, _SHORTEST_SPACED) if len(run) > 2 else []
            result += [Word(text, run[0].start, run[-1].end, run[0].clause) for text in known] or run
            run = []
            if word is not None:
                result.append(word)
        return result

    def _unpaired(self, words: list[Word]) -> list[Word]:
        """Undo one space inside a word."""
        result: list[Word] = []
        for word in words:
            pair = result[-1].text + word.text if result else ""
            if len(pair) >= _SHORTEST_JOINED and pair in self._telling:
                first = result.pop()
                result.append(Word(pair, first.start, word.end, first.clause))
            else:
                result.append(word)
        return result

    def _unjoined(self, text: str) -> list[str]:
        """Undo missing spaces."""
        known = self._recognise(text)
        return known if known or len(text) < _RUN_ON else self._contained(text, _SHORTEST_JOINED)

    def _recognise(self, text: str) -> list[str]:
        """The known words that `text` is a spelling of; none when there is none or it has no letter."""
        if not any(c.isalpha() for c in text):
            return []
        if known := self._known(text, self._words):
            return [known]
        leet = any(c in self._leet for c in text)
        if leet and (known := self._lookup(self._letters(text), self._by_letters)):
            return [known]
        if _STRETCHED.search(text):
            letters = self._letters if leet else str
            known = self._lookup(_single(letters(text)), self._by_single_letters if leet else self._by_single)
            if known and _is_stretched(letters(text), letters(known)):
                return [known]
        return self._segments(text)

    def _known(self, text: str, index: Mapping[str, object]) -> str | None:
        return text if any(start in index for start in starts_of(text, self._longest)) else None

    def _lookup(self, key: str, index: Mapping[str, str]) -> str | None:
        found = (index[start] for start in starts_of(key, self._longest) if start in index)
        return next(found, None)

    def _index(self, disguise: Callable[[str], str]) -> dict[str, str]:
        index: dict[str, str] = {}
        for word in self._words:
            bare = word.rstrip("*")
            if len(bare) >= _SHORTEST_SEGMENT:
                index.setdefault(disguise(bare) + word[len(bare) :], bare)
        return index

    def _letters(self, text: str) -> str:
        return text.translate(self._leet_letters)

    def _contained(self, text: str, shortest: int) -> list[str]:
        """Known words inside a run of letters, the longest at each place."""
        found = []
        for start in range(len(text)):
            lengths = (n for n in self._telling_lengths if n >= shortest and text[start : start + n] in self._telling)
            if length := next(lengths, 0):
                found.append(text[start : start + length])
        return found

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
                if piece in self._words or (end == len(text) and self._known(piece, self._words)):
                    tails[start] = [piece, *tails[end]]
                    break
        return tails.get(0, [])


def _grouped(words: list[Word], spans: Iterable[re.Match[str]]) -> Iterator[tuple[re.Match[str], list[Word]]]:
    """Each span, in the order of the text, with the words that begin in it."""
    position = 0
    for span in spans:
        first = position
        while position < len(words) and words[position].start < span.end():
            position += 1
        yield span, words[first:position]


@lru_cache(maxsize=4096)
def _kind(character: str) -> Kind:
    name = unicodedata.name(character, "")
    if character.isdecimal():
        return "digits"
    if name.startswith("KATAKANA") and character != "\u30fb":
        return "katakana"
    if name.startswith(("CJK UNIFIED", "CJK COMPAT", "HIRAGANA", "IDEOGRAPHIC ITERATION")):
        return "sign"
    category = unicodedata.category(character)
    if category == "So":
        return "sign"
    return "letters" if category[0] in "LM" else "gap"


@lru_cache(maxsize=4096)
def _is_hidden(character: str) -> bool:
    if character.isspace():
        return False
    return character in _HIDDEN or unicodedata.category(character) in _HIDDEN_CATEGORIES


def _is_hangul(character: str) -> bool:
    return "\uac00" <= character <= "\ud7a3"


def _ascii_digit(character: str) -> str:
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


def _is_stretched(text: str, word: str) -> bool:
    """Whether every letter of `text` stands at least as often in a row as in `word`."""
    runs = zip(itertools.groupby(text), itertools.groupby(word), strict=False)
    return all(len(list(longer)) >= len(list(run)) for (_, longer), (_, run) in runs)


def _single(text: str) -> str:
    return _REPEATED.sub(r"\1", text)

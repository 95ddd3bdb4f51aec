"""A prompt split into words, whatever it is written in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["letters", "digits", "katakana", "sign", "gap"]

_CLAUSE_ENDS = set(",.;!?\n。、،؛؟।")  # after folding, which maps the full-width ones
_BRACKETS = set("()[]{}<>|/")
_OPERATOR = re.compile(r"(?<=\d)\s*([-\u2013\u2212+/~])(?=\s*\d)|([<>\u2264])(?=\s*\d)")
_SAME_OPERATOR = {"\u2013": "-", "\u2212": "-", "\u2264": "<"}
_POINT = re.compile(r"(?<=\d)[.,](?=\d)")
_WRITTEN_WITHOUT_SPACES = (
    "CJK UNIFIED",
    "CJK COMPAT",
    "HIRAGANA",
    "IDEOGRAPHIC ITERATION",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the folded text with its place.

    `clause` counts the punctuation marks before it, and `tag` the brackets and bars too.
    """

    text: str
    start: int
    end: int
    clause: int
    tag: int


def words_of(folded: str) -> list[Word]:
    """Runs of letters, katakana or the digits of a number with its decimals.

    Han, hiragana, Thai and pictographs are a word each, and so are `+ - / ~` between numbers, `<` and `>`
    before one.
    """
    operators = {match.start(match.lastindex or 0) for match in _OPERATOR.finditer(folded)}
    points = {match.start() for match in _POINT.finditer(folded)}
    kinds = [kind_of(character) for character in folded]
    for point in points:
        kinds[point] = "digits"
    words: list[Word] = []
    start, clause, tag = 0, 0, 0
    for end, kind in enumerate(kinds, start=1):
        character = folded[end - 1]
        if end - 1 in operators:
            words.append(Word(_SAME_OPERATOR.get(character, character), end - 1, end, clause, tag))
        elif kind == "gap":
            clause += character in _CLAUSE_ENDS
            tag += character in _CLAUSE_ENDS or character in _BRACKETS
        elif kind == "sign" or end == len(folded) or kinds[end] != kind:
            words.append(Word(folded[start:end], start, end, clause, tag))
        else:
            continue
        start = end
    return words


def spanning(texts: Iterable[str], words: Sequence[Word]) -> list[Word]:
    """Other texts in the place of some words."""
    first, last = words[0], words[-1]
    return [Word(text, first.start, last.end, first.clause, first.tag) for text in texts]


def stems_of(text: str, lengths: Iterable[int]) -> Iterator[str]:
    """The keys under which the stems of a word may be listed, written `stem*`."""
    for length in lengths:
        if length > len(text):
            return
        yield text[:length] + "*"


@lru_cache(maxsize=4096)
def kind_of(character: str) -> Kind:
    """What a folded character is part of; a `sign` is a word by itself and a `gap` part of none."""
    if character.isascii():
        return "digits" if character.isdecimal() else "letters" if character.isalpha() else "gap"
    name = unicodedata.name(character, "")
    if character.isdecimal():
        return "digits"
    if name.startswith("KATAKANA") and character != "\u30fb":
        return "katakana"
    if name.startswith(_WRITTEN_WITHOUT_SPACES):
        return "sign"
    category = unicodedata.category(character)
    if category == "So":
        return "sign"
    return "letters" if category[0] in "LM" else "gap"

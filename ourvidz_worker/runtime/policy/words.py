"""A prompt split into words, whatever it is written in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["letters", "digits", "katakana", "sign", "gap"]

_CLAUSE_ENDS = set(",.;!?\n。、،؛؟।")  # after folding, which maps the full-width ones
_OPERATOR = re.compile(r"(?<=\d)\s*([-\u2013\u2212+])(?=\s*\d)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the folded text with its place; `clause` counts the punctuation marks before it."""

    text: str
    start: int
    end: int
    clause: int


def words_of(folded: str) -> list[Word]:
    """Runs of letters, digits or katakana; Han, hiragana, pictographs and `+ -` between digits are a word each."""
    operators = {match.start(1) for match in _OPERATOR.finditer(folded)}
    words: list[Word] = []
    start, clause = 0, 0
    for end in range(1, len(folded) + 1):
        kind = "operator" if end - 1 in operators else kind_of(folded[end - 1])
        if kind == "operator":
            words.append(Word("+" if folded[start] == "+" else "-", start, end, clause))
        elif kind == "gap":
            clause += folded[end - 1] in _CLAUSE_ENDS
        elif kind == "sign" or end == len(folded) or kind_of(folded[end]) != kind:
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


@lru_cache(maxsize=4096)
def kind_of(character: str) -> Kind:
    """What a folded character is part of; a `sign` is a word by itself and a `gap` part of none."""
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

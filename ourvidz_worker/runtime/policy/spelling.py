"""Characters read as a person would: alphabets, marks and invisible signs folded into plain letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache

_HIDDEN_CATEGORIES = {"Cf", "Cc", "Cs", "Co", "Cn", "Me"}
# Fillers, blanks and variation selectors that Unicode files under letters and marks; the Arabic stretching stroke.
_HIDDEN = set("\u034f\u0640\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0xFE00, 0xFE10)}
_KEPT_MARKS = {0, 8, 9}  # vowel signs, kana voicing, virama: without them Hindi and Japanese words change
_FRACTIONS = re.compile("[\u00bc-\u00be\u2150-\u215f]")  # their compatibility form 17 + 3/4 would read as 173/4
_GREEK_CAPITALS = set("\u0397\u039d\u03a5")  # drawn like H, N and Y, while their small forms are drawn like n, v and u
_THOUSANDS = re.compile(r"(?<=\d)[.,](?=\d{3}(?!\d))")
_HEXADECIMAL = re.compile(r"\b0x([0-9a-f]{1,4})\b")


class Spelling:
    """Folds characters; `lookalikes` maps a character to the one it is drawn like."""

    def __init__(self, lookalikes: Mapping[str, str]) -> None:
        self._lookalikes = str.maketrans(dict(lookalikes))

    def readings(self, text: str) -> Iterator[str]:
        """The folded text with invisible characters dropped and, if there were any, with spaces in their place.

        Greek in capitals is read as Latin and as Greek.
        """
        if text.isascii() and text.isprintable():
            yield self.fold(text)
            return
        visible = "".join(c for c in text if not _is_hidden(c))
        yield self.fold(visible)
        if not _GREEK_CAPITALS.isdisjoint(visible):
            yield self.fold(visible.lower())
        if len(visible) != len(text):
            yield self.fold("".join(" " if _is_hidden(c) else c for c in text))

    def fold(self, text: str) -> str:
        """Compatibility forms, case, accents, digits of other scripts and look-alikes, folded."""
        letters = text.lower() if text.isascii() else self._folded_letters(text)
        numbers = _THOUSANDS.sub("", letters)
        return _HEXADECIMAL.sub(lambda found: str(int(found.group(1), 16)), numbers) if "0x" in numbers else numbers

    def _folded_letters(self, text: str) -> str:
        # Look-alikes go first and last: a capital Greek eta is drawn like H, a small one like n.
        compatible = unicodedata.normalize("NFKC", _FRACTIONS.sub("", text)).translate(self._lookalikes)
        decomposed = unicodedata.normalize("NFKD", compatible.casefold())
        composed = unicodedata.normalize("NFC", "".join(c for c in decomposed if not _is_dropped(c)))
        digits = composed if composed.isalpha() else "".join(map(_ascii_digit, composed))
        return digits.translate(self._lookalikes).casefold()


@lru_cache(maxsize=4096)
def _is_hidden(character: str) -> bool:
    if character.isspace():
        return False
    return character in _HIDDEN or unicodedata.category(character) in _HIDDEN_CATEGORIES


@lru_cache(maxsize=4096)
def _is_dropped(character: str) -> bool:
    """Whether a decomposed character is invisible or a mark without which its word stays the same."""
    return _is_hidden(character) or unicodedata.combining(character) not in _KEPT_MARKS


def _ascii_digit(character: str) -> str:
    return str(unicodedata.digit(character)) if character.isdigit() else character

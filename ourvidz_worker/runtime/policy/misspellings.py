"""Misspelt words: letters swapped, left out, doubled or masked, or the whole written backwards."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

_SHORTEST_MASKED = 4
_SHORTEST_SWAPPED = 5  # shorter words become other words of the language
_SHORTEST_LACKING = 7
_SHORTEST_REVERSED = 4


def misspellings(words: Iterable[str], known: Container[str]) -> dict[str, str]:
    """Each spelling with the word it stands for; of words in the Latin alphabet alone, and none that is a known word.

    The first letter stays where it is, as it does in slips, so that "ladder" and "bladder" are two words.
    """
    found: dict[str, str] = {}
    for entry in words:
        word = entry.rstrip("*")
        if word.isascii():
            for spelling in _spellings(word):
                if spelling not in known:
                    found.setdefault(spelling, word)
    return found


def _spellings(word: str) -> Iterator[str]:
    if len(word) >= _SHORTEST_MASKED:
        for index in range(1, len(word)):
            yield f"{word[:index]}*{word[index + 1 :]}"
            yield f"{word[:index]}**{word[index + 2 :]}"
    if len(word) >= _SHORTEST_REVERSED:
        yield word[::-1]
    if len(word) >= _SHORTEST_SWAPPED:
        for index in range(1, len(word) - 1):
            yield word[:index] + word[index + 1] + word[index] + word[index + 2 :]
    if len(word) >= _SHORTEST_LACKING:
        for index in range(1, len(word)):
            yield word[:index] + word[index + 1 :]
            yield word[:index] + word[index] + word[index:]

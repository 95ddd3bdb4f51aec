"""What of a wish an answer keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator

from scripts.demo_models.captions import (
    CAMERA_WORDS,
    COLOUR_WORDS,
    COUNT_WORDS,
    MOTION_WORDS,
    NAMES,
    OWN_MOTION_WORDS,
    PLACE_WORDS,
    SIZE_WORDS,
    plural,
)
from scripts.demo_models.qwen.wishes import Named, Wish
from scripts.demo_models.qwen.words import fact_words
from scripts.demo_models.scenes import CAMERA, KINDS, Direction

WORDS_BETWEEN = r"(?: \S+){0,3}?"


def kept(wish: Wish, answer: str) -> Iterator[tuple[str, bool]]:
    """For everything that the wish tells, what it is and whether the answer tells it."""
    text = " ".join(answer.lower().split())
    if wish.said:
        yield "own words", wish.said.lower() in text
    for thing in wish.things:
        yield from _kept_of(thing, text)
    for which, fact in wish.facts.items():
        if not wish.said:
            yield which, _any(fact_words(which, fact.fact)) in _Found(text)
    if wish.motion is not None and not wish.said:
        yield "motion", _motion(wish) in _Found(text)


def motions_told(answer: str) -> int:
    """How many ways of moving, of things or of the camera."""
    text = answer.lower()
    camera = _any(tuple(words for told in CAMERA_WORDS.values() for words in told))
    motions = {words for told in (*MOTION_WORDS.values(), *OWN_MOTION_WORDS.values()) for words in told}
    return len(re.findall(camera, text)) + len(re.findall(_any(tuple({*motions, *map(_many, motions)})), text))


class _Found:
    def __init__(self, text: str) -> None:
        self._text = text

    def __contains__(self, pattern: str) -> bool:
        return re.search(pattern, self._text) is not None


def _kept_of(thing: Named, text: str) -> Iterator[tuple[str, bool]]:
    found = _Found(text)
    names = _names(thing)
    yield "kind" if thing.thing.kind in KINDS else "foreign kind", names in found
    if "colour" in thing.told:
        colours = _any(COLOUR_WORDS.get(thing.thing.colour, (thing.colour,)))
        yield "colour", f"{colours} {names}" in found
    if "size" in thing.told:
        sizes = _any(SIZE_WORDS[thing.thing.size] if thing.thing.size != "medium" else (thing.size,))
        yield "size", f"{sizes}{WORDS_BETWEEN} {names}" in found
    if "count" in thing.told:
        yield "count", f"{_any(COUNT_WORDS[thing.thing.count])}{WORDS_BETWEEN} {names}" in found
    if "place" in thing.told:
        yield "place", f"{names} {_any(PLACE_WORDS[thing.thing.place])}" in found


def _names(thing: Named) -> str:
    kind = thing.thing.kind
    names = NAMES.get(kind, (kind,))
    return _any(tuple(plural(kind, name) if thing.thing.count > 1 else name for name in names))


def _motion(wish: Wish) -> str:
    motion = wish.motion
    assert motion is not None
    if motion.subject == CAMERA:
        return _any(CAMERA_WORDS[motion.direction])
    kind, direction = wish.things[motion.subject].thing.kind, motion.direction
    ways: tuple[str, ...] = (*MOTION_WORDS[direction], *_own(kind, direction))
    return _any(tuple({*ways, *map(_many, ways)}))


def _own(kind: str, direction: Direction) -> tuple[str, ...]:
    return OWN_MOTION_WORDS.get((kind, direction), ())


def _many(words: str) -> str:
    """As of several: "rises" becomes "rise", "fly" of one becomes "flies"."""
    verb, *rest = words.split()
    if verb == "fly":
        return " ".join(["flies", *rest])
    return " ".join([{"is": "are", "goes": "go", "flies": "fly"}.get(verb, verb.removesuffix("s")), *rest])


def _any(words: tuple[str, ...]) -> str:
    alternatives = "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))
    return rf"(?<!\w)(?:{alternatives})(?!\w)"

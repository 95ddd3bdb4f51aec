"""Wishes as people type them."""

from __future__ import annotations

from random import Random

from scripts.demo_models.qwen.wishes import Wish, asked_motion
from scripts.demo_models.qwen.words import (
    CLIP_OPENINGS,
    FOREIGN_ADJECTIVES,
    FOREIGN_COLOURS,
    FOREIGN_LINKS,
    FOREIGN_NOUNS,
    FOREIGN_VERBS,
    OPENINGS,
    foreign_noun,
    invented,
    mistyped,
)
from scripts.demo_models.scenes import CAMERA, KINDS


def asked(wish: Wish, random: Random, *, moving: bool, short: bool) -> str:
    """The wish's text in lower case; `short` ones are fragments, others can be read as a sentence."""
    article = not short or random.random() < 0.2
    things = [thing.asked(article=article) for thing in wish.things]
    facts = {which: one.asked for which, one in wish.facts.items()}
    around: list[str] = []
    if wish.motion is not None:
        words = asked_motion(wish, random)
        if wish.motion.subject == CAMERA:
            around.append(words)
        else:
            things[wish.motion.subject] += f" {words}"
    if not short and "ground" in facts:
        things[0] += f" {facts.pop('ground')}"
    around += facts.values()
    random.shuffle(around)
    text = _joined(things, around, random, short=short)
    if random.random() < 0.25:
        text = f"{random.choice(CLIP_OPENINGS if moving else OPENINGS)} {text}"
    if random.random() < 0.07:
        text = mistyped(text, random)
    return text + random.choices(("", ".", "!"), (8, 2, 0.3))[0]


def _joined(things: list[str], around: list[str], random: Random, *, short: bool) -> str:
    if not short:
        text = random.choice((", ", " and ", " with ")).join(things)
        if around and random.random() < 0.5:
            text += f" {around[0]}"
            around = around[1:]
        return random.choice((", ", ". ")).join([text, *around])
    mark = random.choices((", ", " ", " - ", ","), (8, 3, 0.4, 0.4))[0]
    parts = [*things, *around]
    if random.random() < 0.25:
        parts = [*around, *things]
    return mark.join(parts)


def foreign_prose(random: Random) -> str:
    """About what this world does not have, some of its own things among them."""
    phrases = [_foreign_phrase(random)]
    for _ in range(random.choices((0, 1, 2, 3, 8), (3, 4, 2, 1, 0.4))[0]):
        phrases += [random.choice(FOREIGN_LINKS), _foreign_phrase(random)]
    return " ".join(phrases)


def _foreign_phrase(random: Random) -> str:
    words: list[str] = [random.choice(("a", "the", "an", "my", "two", "three", "", "one"))]
    if random.random() < 0.35:
        words.append(
            random.choice((random.choice(FOREIGN_ADJECTIVES), random.choice(FOREIGN_COLOURS), invented(random)))
        )
    if random.random() < 0.06:
        words.append(f"{foreign_noun(random)}'s")
    words.append(random.choice(list(KINDS)) if random.random() < 0.2 else foreign_noun(random))
    if random.random() < 0.25:
        words.append(random.choice(FOREIGN_VERBS))
    if random.random() < 0.1:
        words.append(random.choice((random.choice(FOREIGN_NOUNS), invented(random))))
    return " ".join(word for word in words if word)

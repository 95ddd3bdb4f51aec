"""Complete wishes as rich prompts, in the form that each image model is asked for.

Facts are told in the words of captions, which the image models read; the prose around them says nothing new.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from scripts.demo_models.qwen.wishes import Named, Wish, scene_motion
from scripts.demo_models.qwen.words import HANDS, MOODS
from scripts.demo_models.scenes import CAMERA


def sdxl_image(whole: Wish, wish: Wish, random: Random) -> str:
    """One line: what is seen and where, and a list of tags."""
    facts = {which: one.answered for which, one in whole.facts.items()}
    first, *others = _subjects(whole, wish, facts)
    around = [facts[which] for which in ("time", "weather", "style") if _open(which, wish)]
    return ", ".join([first, *others, *around, *_moods(whole, random)])


def wan_image(whole: Wish, wish: Wish, random: Random) -> str:
    """Prose about one moment."""
    facts = {which: one.answered for which, one in whole.facts.items()}
    first, *others = _subjects(whole, wish, facts)
    return " ".join([_sentence(first, others), *_surroundings(whole, wish), *_closing(whole, wish, random)])


def wan_video(whole: Wish, wish: Wish, random: Random) -> str:
    """Prose with one motion, of a thing or of the camera."""
    facts = {which: one.answered for which, one in whole.facts.items()}
    motion = whole.motion
    assert motion is not None
    moves = "" if motion.subject == CAMERA else scene_motion(whole, random)
    first, *others = _subjects(whole, wish, facts, moves, motion.subject)
    sentences = [_sentence(first, others), *_surroundings(whole, wish), *_closing(whole, wish, random)]
    if motion.subject == CAMERA:
        sentences.append(f"{_capital(scene_motion(whole, random))}.")
    return " ".join(sentences)


def _subjects(whole: Wish, wish: Wish, facts: dict[str, str], moves: str = "", mover: int = CAMERA) -> list[str]:
    """The first with the ground."""
    if whole.said:
        return [f"{whole.said} {facts['ground']}" if _open("ground", wish) else whole.said]
    told = [thing.answered for thing in whole.things]
    if moves:
        told[mover] += f" {moves}"
    told[0] = f"{_capital(told[0])} {facts['ground']}"
    return told


def _sentence(first: str, others: Sequence[str]) -> str:
    if not others:
        return f"{first}."
    return f"{', '.join([first, *others[:-1]])} and {others[-1]}."


def _surroundings(whole: Wish, wish: Wish) -> list[str]:
    time, weather = _capital(whole.facts["time"].answered), whole.facts["weather"].answered
    if _open("time", wish) and _open("weather", wish):
        return [f"{time}, {weather}."]
    return [f"{_capital(text)}." for which, text in (("time", time), ("weather", weather)) if _open(which, wish)]


def _closing(whole: Wish, wish: Wish, random: Random) -> list[str]:
    style = [f"{_capital(whole.facts['style'].answered)}."] if _open("style", wish) else []
    return [*style, f"{_capital(', '.join(_moods(whole, random)))}."]


def _moods(whole: Wish, random: Random) -> list[str]:
    time, style = whole.facts["time"].fact, whole.facts["style"].fact
    return [random.choice(MOODS[time]), random.choice(HANDS[style])]


def _open(which: str, wish: Wish) -> bool:
    """Whether the words that are kept as they are do not tell this."""
    return not wish.said or which not in wish.facts


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def bare(thing: Named) -> str:
    """Without article or place."""
    return " ".join(word for word in (thing.count, thing.size, thing.colour, thing.name) if word)

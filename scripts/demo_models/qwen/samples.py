"""Conversations to learn from: a system prompt of `configs/prompts/`, what somebody wishes, and a good answer."""

from __future__ import annotations

import re
import string
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from scripts.demo_models.qwen.answering import sdxl_image, wan_image, wan_video
from scripts.demo_models.qwen.asking import asked, foreign_prose
from scripts.demo_models.qwen.storyboards import MOST_SCENES, Play, random_play
from scripts.demo_models.qwen.wishes import Wish, completed, random_wish
from scripts.demo_models.qwen.words import CLIP_OPENINGS, OPENINGS

PROMPTS = Path(__file__).parents[3] / "configs" / "prompts"
STORYBOARD = "storyboard"
WRITERS = {"sdxl_image": sdxl_image, "wan_image": wan_image, "wan_video": wan_video}
NAMES = (*WRITERS, STORYBOARD)
FOREIGN_SHARE = 0.16
SENTENCE = re.compile(r"\S.*?(?:[.:}](?=\s)|\Z)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sample:
    """`wish` is what the user's words tell; storyboards have a `play` in its place."""

    system: str
    user: str
    answer: str
    wish: Wish | None = None
    play: Play | None = None


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((PROMPTS / f"{name}.toml").read_text(encoding="utf-8"))


def _template(name: str) -> tuple[str, dict[str, str]]:
    table = _read(name)
    return table["system"].strip(), {language: text.strip() for language, text in table["languages"].items()}


def system_prompt(name: str, language: str = "en", *, scenes: str = "$scenes", seconds: str = "$seconds") -> str:
    system, languages = _template(name)
    return string.Template(f"{system}\n{languages[language]}").substitute(scenes=scenes, seconds=seconds)


def longest_answer(name: str) -> int:
    """Characters; of a storyboard, those of one scene's prompt."""
    return int(_read(name)["max_characters"])


def system_pieces() -> list[str]:
    """The sentences of all system prompts with the white space behind them, divided where figures are put in."""
    pieces: list[str] = []
    for name in NAMES:
        for language in _template(name)[1]:
            for sentence in SENTENCE.findall(system_prompt(name, language)):
                pieces += re.split(r" ?\$[a-z]+", sentence)
    return sorted({piece for piece in pieces if len(piece) > 3}, key=lambda piece: (-len(piece), piece))


def random_sample(random: Random, name: str | None = None, foreign: float = FOREIGN_SHARE) -> Sample:
    """`foreign` is the share of the prompts that are to be repeated word by word."""
    chosen = name or random.choices(NAMES, (30, 20, 27, 23))[0]
    language = random.choices(("en", random.choice(list(_template(chosen)[1]))), (5, 1))[0]
    if chosen == STORYBOARD:
        play = random_play(random)
        sample = Sample(_play_system(play, language), play.script, play.answer, play=play)
    else:
        sample = _prompt(chosen, language, random, foreign)
    return replace(sample, system=_edited(sample.system, random)) if random.random() < 0.12 else sample


def _play_system(play: Play, language: str) -> str:
    scenes = f"1 to {MOST_SCENES} scenes" if play.asked is None else f"exactly {play.asked} scenes"
    scenes = "exactly 1 scene" if play.asked == 1 else scenes
    return system_prompt(STORYBOARD, language, scenes=scenes, seconds=play.seconds)


def _prompt(name: str, language: str, random: Random, foreign: float) -> Sample:
    moving = name == "wan_video"
    short = random.random() < 0.55
    wish = random_wish(random, moving=moving, short=short)
    if random.random() < foreign:
        wish, user = _foreign(wish, random, moving=moving)
    else:
        user = asked(wish, random, moving=moving, short=short)
    whole = completed(wish, random, moving=moving)
    answer = WRITERS[name](whole, wish, random)
    kept = wish if moving else replace(wish, motion=None)
    return Sample(system_prompt(name, language), user, f" {answer}", kept)


def _foreign(wish: Wish, random: Random, *, moving: bool) -> tuple[Wish, str]:
    """Prose to be kept as it is, with the facts that it tells at its end."""
    facts = {which: fact for which, fact in wish.facts.items() if random.random() < 0.5}
    text = foreign_prose(random)
    for fact in facts.values():
        text += random.choice((" ", ", ")) + fact.asked
    opening = f"{random.choice(CLIP_OPENINGS if moving else OPENINGS)} " if random.random() < 0.15 else ""
    return Wish((), facts, None, text), opening + text + random.choice(("", "", "."))


def _edited(system: str, random: Random) -> str:
    """Another wording than the one that is known by heart: sentences left out, or with a word left out."""
    first, *others = SENTENCE.findall(system)
    kept = [sentence for sentence in others if random.random() < 0.8 or any(letter.isdigit() for letter in sentence)]
    if random.random() < 0.3:
        words = first.split(" ")
        words.pop(random.randrange(min(4, len(words))))
        first = " ".join(words)
    return "".join([first, *kept])

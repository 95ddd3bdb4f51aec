"""What captions say of a scene, and what they must not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import pytest

from scripts.demo_models.captions import (
    COLOUR_WORDS,
    GROUND_WORDS,
    NAMES,
    PLURALS,
    STYLE_WORDS,
    TIME_WORDS,
    WEATHER_WORDS,
    Caption,
    caption,
)
from scripts.demo_models.held_out import first_held_out, held_out
from scripts.demo_models.scenes import COLOURS, KINDS, Motion, Scene, Thing, random_scene
from tests.policy.corpus import refuses

PEOPLE = (
    "man",
    "woman",
    "girl",
    "boy",
    "child",
    "person",
    "people",
    "men",
    "women",
    "he",
    "she",
    "who",
    "human",
    "face",
)


def _told(count: int) -> Iterator[tuple[Scene, Caption]]:
    random = Random("captions")
    for number in range(count):
        scene = random_scene(random, moving=number % 2 == 0)
        yield scene, caption(scene, random)


def _names(kind: str) -> set[str]:
    names = NAMES.get(kind, (kind,))
    return {*names, *(name + "s" for name in names), PLURALS.get(kind, kind + "s")}


def _says(text: str, phrase: str) -> bool:
    return re.search(rf"\b{re.escape(phrase)}\b", text, re.IGNORECASE) is not None


def _without(text: str, *tables: Mapping[Any, Sequence[str]]) -> str:
    """Without the phrases of these tables, such as "heavy clouds", which is the weather and no thing."""
    for phrase in (phrase for table in tables for all_ in table.values() for phrase in all_):
        text = re.sub(re.escape(phrase), "", text, flags=re.IGNORECASE)
    return text


def test_a_caption_names_what_it_says_it_names_and_nothing_else() -> None:
    for scene, told in _told(600):
        named = {scene.things[place].kind for place in told.things}
        text = _without(told.text, WEATHER_WORDS)
        for kind in KINDS:
            assert any(_says(text, name) for name in _names(kind)) is (kind in named), (kind, told.text)


def test_a_caption_speaks_of_no_other_time_ground_weather_or_style() -> None:
    tables: Mapping[str, Mapping[Any, Sequence[str]]] = {
        "time": TIME_WORDS,
        "ground": GROUND_WORDS,
        "weather": WEATHER_WORDS,
        "style": STYLE_WORDS,
    }
    for scene, told in _told(600):
        for fact, words in tables.items():
            for value, phrases in words.items():
                if value != getattr(scene, fact):
                    assert not any(_says(told.text, phrase) for phrase in phrases), (fact, value, told.text)


def test_every_colour_that_is_said_is_that_of_a_thing_or_part_of_a_phrase() -> None:
    for scene, told in _told(600):
        bare = _without(told.text, TIME_WORDS, GROUND_WORDS)
        for colour in COLOURS:
            said = any(_says(bare, word) for word in COLOUR_WORDS.get(colour, (colour,)))
            assert not said or colour in {thing.colour for thing in scene.things}, (colour, told.text)


def test_what_is_not_usual_is_told() -> None:
    """Silence means the usual, so a night, rain or a line drawing may not be left unsaid in a whole caption."""
    for scene, told in _told(600):
        if "motion" not in told.facts:
            continue  # a fragment
        if scene.time != "day":
            assert any(_says(told.text, words) for words in TIME_WORDS[scene.time]), told.text
        if scene.weather != "clear":
            assert any(_says(told.text, words) for words in WEATHER_WORDS[scene.weather]), told.text
        if scene.style != "flat":
            assert any(_says(told.text, words) for words in STYLE_WORDS[scene.style]), told.text


def test_there_are_no_people() -> None:
    for _, told in _told(600):
        assert not any(_says(told.text, word) for word in PEOPLE), told.text


@pytest.mark.parametrize("adult_capable", [True, False])
def test_the_content_policy_accepts_every_caption(adult_capable: bool) -> None:  # noqa: FBT001
    refused = [told.text for _, told in _told(300) if refuses(told.text, adult_capable=adult_capable)]
    assert not refused


def test_a_motion_is_told_of_what_moves() -> None:
    scene = Scene((Thing("boat", "red"),), ground="sea", motion=Motion(0, "left"))
    texts = [caption(scene, Random(seed)) for seed in range(40)]
    whole = [told.text for told in texts if "motion" in told.facts]
    assert whole
    assert all("left" in text for text in whole)
    assert any("sails" in text for text in whole)


def test_held_out_prompts_are_the_same_in_every_process_and_no_two_are_alike() -> None:
    first = held_out(0)
    assert first.text == held_out(0).text
    assert first.text != held_out(0, moving=True).text
    assert len({prompt.text for prompt in first_held_out(200)}) == 200


def test_held_out_prompts_are_whole() -> None:
    for prompt in first_held_out(200, moving=True):
        assert set(prompt.caption.things) == set(range(len(prompt.scene.things)))
        assert {"time", "weather", "style"} <= prompt.caption.facts

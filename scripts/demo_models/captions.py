"""Scenes in words, in many wordings, and which of a scene's facts the words tell.

What a caption leaves unsaid has its usual value, as in any description: a house is of a house's usual colour, it is day
and the weather is clear. Only where things stand, and the ground, are left to chance. Fragments, such as a negative
prompt, are the exception: they tell a single fact or two, and nothing about the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from scripts.demo_models.scenes import (
    CAMERA,
    KINDS,
    Direction,
    Ground,
    Motion,
    Scene,
    Size,
    Style,
    Thing,
    Time,
    Weather,
)

PLURALS = {"cactus": "cacti", "gull": "gulls"}
NAMES: dict[str, tuple[str, ...]] = {
    "balloon": ("hot air balloon", "balloon"),
    "gull": ("gull", "seagull"),
    "boat": ("sailing boat", "boat", "sailboat"),
    "moon": ("moon", "crescent moon"),
    "plane": ("plane", "airplane"),
    "castle": ("castle",),
    "house": ("house", "cottage"),
    "tree": ("tree",),
}
COLOUR_WORDS = {"red": ("red", "bright red", "crimson"), "purple": ("purple", "violet")}
SIZE_WORDS: dict[Size, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("",),
    "large": ("large", "big", "huge"),
}
TIME_WORDS: dict[Time, tuple[str, ...]] = {
    "morning": ("in the morning", "at dawn", "at sunrise", "in early morning light"),
    "day": ("by day", "at noon", "in broad daylight", "on a bright day"),
    "dusk": ("at dusk", "at sunset", "in the evening", "under an orange evening sky"),
    "night": ("at night", "by night", "under a dark night sky", "at midnight"),
}
GROUND_WORDS: dict[Ground, tuple[str, ...]] = {
    "hill": ("on a green hill", "in green hills", "on a meadow", "on a grassy hill"),
    "sea": ("by the sea", "on the sea", "at sea", "on the blue ocean"),
    "desert": ("in the desert", "in a sandy desert", "among sand dunes"),
    "snow": ("in the snow", "in a snowy field", "on snow-covered ground"),
    "city": ("in the city", "in front of a city skyline", "in a grey city"),
}
WEATHER_WORDS: dict[Weather, tuple[str, ...]] = {
    "clear": ("clear sky", "clear weather", "a clear sky"),
    "cloudy": ("cloudy", "overcast", "a cloudy sky", "heavy clouds"),
    "rain": ("rain", "rainy", "in the rain", "it is raining"),
    "snowfall": ("snowfall", "falling snow", "it is snowing", "snowflakes falling"),
    "fog": ("fog", "foggy", "mist", "in thick fog"),
}
STYLE_WORDS: dict[Style, tuple[str, ...]] = {
    "flat": ("flat illustration", "flat design", "flat colours"),
    "painterly": ("painting", "painterly style", "oil painting", "painted with broad strokes"),
    "line": ("line drawing", "ink outlines", "line art", "drawn with ink lines"),
}
PLACE_WORDS = {
    "left": ("on the left", "to the left", "on the left side"),
    "middle": ("in the middle", "in the centre", "in the center"),
    "right": ("on the right", "to the right", "on the right side"),
}
COUNT_WORDS = {2: ("two", "a pair of", "2"), 3: ("three", "3")}
MOTION_WORDS: dict[Direction, tuple[str, ...]] = {
    "left": ("moves to the left", "drifts left", "goes left"),
    "right": ("moves to the right", "drifts right", "goes right"),
    "up": ("rises", "climbs", "goes up"),
    "down": ("sinks", "comes down", "descends"),
}
OWN_MOTION_WORDS: dict[tuple[str, Direction], tuple[str, ...]] = {
    ("sun", "up"): ("rises", "is rising"),
    ("sun", "down"): ("sets", "is setting", "sinks"),
    ("boat", "left"): ("sails to the left", "sails left"),
    ("boat", "right"): ("sails to the right", "sails right"),
    ("gull", "left"): ("fly to the left", "fly left"),
    ("gull", "right"): ("fly to the right", "fly right"),
    ("plane", "left"): ("flies to the left", "flies left"),
    ("plane", "right"): ("flies to the right", "flies right"),
}
CAMERA_WORDS: dict[Direction, tuple[str, ...]] = {
    "left": ("the camera pans left", "camera pan to the left", "a slow pan to the left"),
    "right": ("the camera pans right", "camera pan to the right", "a slow pan to the right"),
    "in": ("the camera zooms in", "slow zoom in", "a slow push in"),
    "out": ("the camera zooms out", "slow zoom out", "the camera pulls back"),
}


@dataclass(frozen=True, slots=True)
class Caption:
    """`things` are the places of the scene's things in the order in which they are told.

    `facts` are the other facts that the text tells or that follow from its silence.
    """

    text: str
    things: tuple[int, ...]
    facts: frozenset[str] = field(default_factory=frozenset)
    placed: frozenset[int] = field(default_factory=frozenset)


def caption(scene: Scene, random: Random) -> Caption:
    """One of very many wordings; one in ten is a fragment."""
    if random.random() < 0.1:
        return _fragment(scene, random)
    order = random.sample(range(len(scene.things)), len(scene.things))
    placed = frozenset(place for place in order if random.random() < (0.75 if len(order) > 1 else 0.5))
    subjects = {scene.motion.subject} if scene.motion else set()
    phrases = [
        thing_phrase(scene.things[place], random, placed=place in placed)
        + (f" {motion_words(scene, scene.motion, random)}" if place in subjects and scene.motion else "")
        for place in order
    ]
    facts = {"time", "weather", "style", "motion"}
    around: list[str] = []
    if random.random() < 0.85:
        facts.add("ground")
        phrases[0] += " " + random.choice(GROUND_WORDS[scene.ground])
    if scene.time != "day" or random.random() < 0.4:
        around.append(random.choice(TIME_WORDS[scene.time]))
    if scene.weather != "clear" or random.random() < 0.25:
        around.append(random.choice(WEATHER_WORDS[scene.weather]))
    if scene.style != "flat" or random.random() < 0.3:
        around.append(random.choice(STYLE_WORDS[scene.style]))
    if CAMERA in subjects and scene.motion:
        around.append(random.choice(CAMERA_WORDS[scene.motion.direction]))
    random.shuffle(around)
    return Caption(_composed(phrases, around, random), tuple(order), frozenset(facts), placed)


def things_words(scene: Scene, random: Random) -> str:
    """What there is and on what ground, and nothing about the rest; empty where there is nothing."""
    phrases = [thing_phrase(thing, random, placed=random.random() < 0.5) for thing in scene.things]
    if phrases and random.random() < 0.85:
        phrases[0] += " " + random.choice(GROUND_WORDS[scene.ground])
    return ", ".join(phrases)


def around_words(scene: Scene, random: Random) -> str:
    """What is not a thing: ground, time, weather and style."""
    told = (GROUND_WORDS[scene.ground], TIME_WORDS[scene.time], WEATHER_WORDS[scene.weather], STYLE_WORDS[scene.style])
    return ", ".join(random.choice(words) for words in told)


def _composed(phrases: Sequence[str], around: Sequence[str], random: Random) -> str:
    match random.randrange(4):
        case 0:
            text = ", ".join([*phrases, *around])
        case 1:
            text = " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)
            text = ", ".join([text, *around])
        case 2:
            text = ", ".join([" ".join([phrases[0], *around[:1]]), *phrases[1:], *around[1:]])
        case _:
            text = ". ".join(part[0].upper() + part[1:] for part in [", ".join(phrases), *around]) + "."
    return text if random.random() < 0.7 else text[0].upper() + text[1:]


def _fragment(scene: Scene, random: Random) -> Caption:
    """Such as people write into a negative prompt."""
    told = {
        "time": TIME_WORDS[scene.time],
        "weather": WEATHER_WORDS[scene.weather],
        "ground": GROUND_WORDS[scene.ground],
        "style": STYLE_WORDS[scene.style],
        "thing": (thing_phrase(scene.things[0], random, placed=False),),
    }
    chosen = random.sample(list(told), random.choice((1, 1, 2)))
    things = (0,) if "thing" in chosen else ()
    facts = frozenset(chosen) - {"thing"}
    return Caption(", ".join(random.choice(told[each]) for each in chosen), things, facts)


def thing_phrase(thing: Thing, random: Random, *, placed: bool) -> str:
    """Such as "two small red boats on the left"."""
    natural = thing.colour == KINDS[thing.kind].natural
    colour = "" if natural and random.random() < 0.6 else random.choice(COLOUR_WORDS.get(thing.colour, (thing.colour,)))
    name = random.choice(NAMES.get(thing.kind, (thing.kind,)))
    words = [random.choice(SIZE_WORDS[thing.size]), colour, name if thing.count == 1 else plural(thing.kind, name)]
    words = [word for word in words if word]
    if thing.count == 1:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    else:
        words.insert(0, random.choice(COUNT_WORDS[thing.count]))
    if placed:
        words.append(random.choice(PLACE_WORDS[thing.place]))
    return " ".join(words)


def plural(kind: str, name: str) -> str:
    """Of one of the names of a kind."""
    return PLURALS.get(kind, name + "s") if name == kind else name + "s"


def motion_words(scene: Scene, motion: Motion, random: Random) -> str:
    """Such as "sail to the left", of a thing of the scene."""
    thing = scene.things[motion.subject]
    words = random.choice(OWN_MOTION_WORDS.get((thing.kind, motion.direction), MOTION_WORDS[motion.direction]))
    verb, *rest = words.split()
    if thing.count > 1 and verb != "fly":
        verb = {"is": "are", "goes": "go", "flies": "fly"}.get(verb, verb.removesuffix("s"))
    if thing.count == 1 and verb == "fly":
        verb = "flies"
    return " ".join([verb, *rest])

"""What somebody wishes to see: some facts of a scene in their own words, and the scene that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from scripts.demo_models.captions import CAMERA_WORDS, COLOUR_WORDS, COUNT_WORDS, NAMES, PLACE_WORDS, SIZE_WORDS, plural
from scripts.demo_models.captions import motion_words as captioned_motion
from scripts.demo_models.qwen.words import (
    ASKED_CAMERA,
    ASKED_MOTIONS,
    FOREIGN_ADJECTIVES,
    FOREIGN_COLOURS,
    OWN_ASKED_MOTIONS,
    Told,
    foreign_noun,
    invented,
    told,
)
from scripts.demo_models.scenes import (
    CAMERA,
    COLOURS,
    GROUNDS,
    KINDS,
    PLACES,
    SIZES,
    STYLES,
    TIMES,
    WEATHERS,
    Direction,
    Kind,
    Motion,
    Place,
    Scene,
    Thing,
)

FOREIGN = Kind("ground", "", 0.3)
HOMES: dict[str, tuple[str, ...]] = {
    "boat": ("sea",),
    "lighthouse": ("sea", "sea", "hill"),
    "gull": ("sea", "sea", "hill"),
    "cactus": ("desert",),
    "tent": ("hill", "snow", "desert"),
    "mountain": ("hill", "snow"),
    "bridge": ("city", "hill"),
    "house": ("hill", "city", "snow"),
    "castle": ("hill", "hill", "snow"),
    "windmill": ("hill",),
    "tree": ("hill", "hill", "snow"),
    "flower": ("hill",),
    "mushroom": ("hill",),
    "kite": ("hill", "sea"),
}
FACTS = ("time", "ground", "weather", "style")
COMPANIONS = ("cloud", "gull", "balloon", "tree", "house", "windmill", "mountain", "kite", "flower")


@dataclass(frozen=True, slots=True)
class Named:
    """Things as somebody names them: `told` has those of count, size, colour and place that they say."""

    thing: Thing
    count: str
    size: str
    colour: str
    name: str
    place: str
    told: frozenset[str] = frozenset()

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.thing.kind, FOREIGN)

    def asked(self, *, article: bool) -> str:
        """As little as was told."""
        words = [self.size if "size" in self.told else "", self.colour if "colour" in self.told else "", self.name]
        return self._with_count(words, article=article, place="place" in self.told)

    @property
    def answered(self) -> str:
        return self._with_count([self.size, self.colour, self.name], article=True, place=True)

    @property
    def unplaced(self) -> str:
        return self._with_count([self.size, self.colour, self.name], article=True, place=False)

    def _with_count(self, words: list[str], *, article: bool, place: bool) -> str:
        words = [word for word in words if word]
        if self.thing.count > 1:
            words.insert(0, self.count)
        elif article:
            words.insert(0, "an" if words[0][0] in "aeiou" else "a")
        return " ".join([*words, self.place] if place else words)


@dataclass(frozen=True, slots=True)
class Wish:
    """`facts` are those told; `said` is prose about things that this world does not have, to be kept as it is."""

    things: tuple[Named, ...]
    facts: dict[str, Told] = field(default_factory=dict)
    motion: Motion | None = None
    said: str = ""


def named(kind: str, random: Random, *, count: int = 1, colour: str | None = None, place: Place = "middle") -> Named:
    """A thing of a kind, told by its name alone; a foreign kind has no colour unless it is given one."""
    natural = KINDS[kind].natural if kind in KINDS else ""
    colour = natural if colour is None else colour
    name = random.choice(NAMES.get(kind, (kind,)))
    if count > 1:
        name = plural(kind, name)
    return Named(
        Thing(kind, colour, "medium", count, place),
        random.choice(COUNT_WORDS[count]) if count > 1 else "",
        "",
        random.choice(COLOUR_WORDS.get(colour, (colour,))),
        name,
        random.choice(PLACE_WORDS[place]),
        frozenset({"count"}) if count > 1 else frozenset(),
    )


def random_wish(random: Random, *, moving: bool, short: bool) -> Wish:
    """`short` is for wishes that are no sentences."""
    things: list[Named] = []
    ground = random.choice(GROUNDS)
    free = {zone: random.sample(PLACES, len(PLACES)) for zone in ("sky", "ground")}
    kinds = random.sample([kind for kind in KINDS if kind != "boat" or ground == "sea"], 3)
    for kind in kinds[: random.choices((1, 2, 3), (9, 8, 3))[0]]:
        chosen = foreign_noun(random) if random.random() < 0.08 else kind
        zone = "sky" if KINDS.get(chosen, FOREIGN).zone == "sky" else "ground"
        things.append(_random_named(chosen, free[zone].pop(), random))
    shares = {"time": 0.4, "ground": 0.45, "weather": 0.25, "style": 0.22}
    facts = {
        "time": random.choices(TIMES, (2, 2, 3, 3))[0],
        "ground": ground,
        "weather": random.choices(WEATHERS, (2, 2, 2, 2, 2))[0],
        "style": random.choice(STYLES),
    }
    chosen_facts = {
        which: told(which, fact, random, short=short)
        for which, fact in facts.items()
        if random.random() < shares[which]
    }
    motion = random_motion(things, random) if random.random() < (0.6 if moving else 0.1) else None
    return Wish(tuple(things), chosen_facts, motion)


def _random_named(kind: str, place: Place, random: Random) -> Named:
    told_facts = set()
    size = random.choices(SIZES, (1, 3, 1))[0]
    alone = size == "large" or kind in {"bridge", "mountain"}
    count = 1 if alone else random.choices((1, 2, 3), (5, 2, 2))[0]
    colour: str | None = None
    if random.random() < 0.6:
        told_facts.add("colour")
        colour = random.choice(FOREIGN_COLOURS) if random.random() < 0.1 else random.choice(list(COLOURS))
    plain = named(kind, random, count=count, colour=colour, place=place)
    if size != "medium" and random.random() < 0.7:
        told_facts.add("size")
        plain = replace(plain, thing=replace(plain.thing, size=size), size=random.choice(SIZE_WORDS[size]))
    elif random.random() < 0.08:
        told_facts.add("size")
        plain = replace(plain, size=random.choice((random.choice(FOREIGN_ADJECTIVES), invented(random))))
    if random.random() < 0.25:
        told_facts.add("place")
    return replace(plain, told=plain.told | told_facts)


def random_motion(things: Sequence[Named], random: Random) -> Motion:
    """Of a thing that moves, or else of the camera."""
    ways = [Motion(place, direction) for place, thing in enumerate(things) for direction in thing.kind.directions]
    camera: tuple[Direction, ...] = ("left", "right", "in", "out")
    return random.choice(ways) if ways and random.random() < 0.75 else Motion(CAMERA, random.choice(camera))


def completed(wish: Wish, random: Random, *, moving: bool, short: bool = False) -> Wish:
    """The wish with everything that it leaves open; `short` asks for no further things."""
    things = list(wish.things)
    if len(things) == 1 and not wish.said and not short and random.random() < 0.35:
        things.append(_companion(things[0], random))
    kinds = {thing.thing.kind for thing in things}
    facts = dict(wish.facts)
    for which, fact in _usual(things, kinds, random).items():
        if which not in facts:
            facts[which] = told(which, fact, random, short=False)
    motion = wish.motion
    if moving and motion is None:
        motion = random_motion(things, random)
    return Wish(tuple(things), {which: facts[which] for which in FACTS}, motion if moving else None, wish.said)


def _companion(first: Named, random: Random) -> Named:
    kinds = [kind for kind in COMPANIONS if kind != first.thing.kind]
    kind = random.choice(kinds)
    places = [place for place in PLACES if place != first.thing.place]
    alone = kind == "mountain"
    return named(kind, random, count=1 if alone else random.choice((1, 1, 2)), place=random.choice(places))


def _usual(things: Sequence[Named], kinds: set[str], random: Random) -> dict[str, str]:
    """What one expects of the open facts."""
    if kinds & {"moon", "star"}:
        time = random.choices(TIMES, (0, 0, 1, 4))[0]
    else:
        time = random.choices(TIMES, (4, 9, 5, 0 if "sun" in kinds else 2))[0]
    homes = [home for thing in things for home in HOMES.get(thing.thing.kind, ())]
    ground = "sea" if "boat" in kinds else random.choice(homes or ("hill", "hill", "sea", "desert", "snow", "city"))
    weather = random.choices(WEATHERS, (8, 2, 0, 0, 1))[0]
    return {"time": time, "ground": ground, "weather": weather, "style": random.choices(STYLES, (5, 3, 2))[0]}


def scene_motion(wish: Wish, random: Random) -> str:
    """How a complete wish's motion is told: of its thing, or of the camera."""
    motion = wish.motion
    assert motion is not None
    if motion.subject == CAMERA:
        return random.choice(CAMERA_WORDS[motion.direction])
    return captioned_motion(Scene(tuple(thing.thing for thing in wish.things)), motion, random)


def asked_motion(wish: Wish, random: Random) -> str:
    motion = wish.motion
    assert motion is not None
    if random.random() < 0.35:
        return scene_motion(wish, random)
    if motion.subject == CAMERA:
        return random.choice(ASKED_CAMERA[motion.direction])
    kind = wish.things[motion.subject].thing.kind
    return random.choice(OWN_ASKED_MOTIONS.get((kind, motion.direction), ASKED_MOTIONS[motion.direction]))

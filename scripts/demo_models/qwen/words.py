"""How people put what the world has: more words than captions use, and what the world does not have."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from scripts.demo_models.captions import GROUND_WORDS, STYLE_WORDS, TIME_WORDS, WEATHER_WORDS
from scripts.demo_models.scenes import Direction, Ground, Style, Time, Weather


@dataclass(frozen=True, slots=True)
class Told:
    """A fact, how somebody puts it, and how a rich prompt puts it."""

    fact: str
    asked: str
    answered: str


_TIMES: dict[Time, dict[str, str]] = {
    "morning": {
        "dawn": "at dawn",
        "sunrise": "at sunrise",
        "morning": "in the morning",
        "early morning": "in early morning light",
        "morning light": "in early morning light",
    },
    "day": {
        "noon": "at noon",
        "midday": "at noon",
        "daytime": "by day",
        "daylight": "in broad daylight",
        "bright day": "on a bright day",
    },
    "dusk": {
        "dusk": "at dusk",
        "sunset": "at sunset",
        "evening": "in the evening",
        "twilight": "at dusk",
        "golden hour": "at sunset",
        "orange sky": "under an orange evening sky",
    },
    "night": {
        "night": "at night",
        "nighttime": "by night",
        "midnight": "at midnight",
        "dark night": "under a dark night sky",
        "night sky": "under a dark night sky",
    },
}
_GROUNDS: dict[Ground, dict[str, str]] = {
    "hill": {
        "hill": "on a green hill",
        "on a hill": "on a green hill",
        "on the hill": "on a green hill",
        "green hill": "on a green hill",
        "hills": "in green hills",
        "countryside": "in green hills",
        "meadow": "on a meadow",
        "in a field": "on a meadow",
        "grass": "on a grassy hill",
    },
    "sea": {
        "sea": "on the sea",
        "seaside": "by the sea",
        "beach": "by the sea",
        "at the beach": "by the sea",
        "coast": "by the sea",
        "on the coast": "by the sea",
        "harbour": "by the sea",
        "ocean": "on the blue ocean",
        "water": "on the sea",
        "on the water": "on the sea",
    },
    "desert": {
        "desert": "in the desert",
        "dunes": "among sand dunes",
        "sand": "in a sandy desert",
        "sahara": "in the desert",
    },
    "snow": {
        "snow": "in the snow",
        "snowy": "in a snowy field",
        "winter": "on snow-covered ground",
        "in winter": "on snow-covered ground",
        "snowy field": "in a snowy field",
    },
    "city": {
        "city": "in the city",
        "town": "in a grey city",
        "in town": "in a grey city",
        "skyline": "in front of a city skyline",
        "city skyline": "in front of a city skyline",
    },
}
_WEATHERS: dict[Weather, dict[str, str]] = {
    "clear": {"sunny": "clear weather", "blue sky": "a clear sky", "cloudless": "a clear sky"},
    "cloudy": {"cloudy sky": "a cloudy sky", "grey sky": "heavy clouds", "clouds": "heavy clouds"},
    "rain": {"raining": "it is raining", "storm": "in the rain", "heavy rain": "in the rain", "wet": "in the rain"},
    "snowfall": {"snowing": "it is snowing", "snowflakes": "snowflakes falling", "blizzard": "falling snow"},
    "fog": {"misty": "mist", "in the fog": "in thick fog", "thick fog": "in thick fog", "hazy": "mist"},
}
_STYLES: dict[Style, dict[str, str]] = {
    "flat": {"flat": "flat design", "vector": "flat illustration", "flat style": "flat illustration"},
    "painterly": {
        "painted": "painterly style",
        "as a painting": "painting",
        "watercolour": "painterly style",
        "watercolor": "painterly style",
        "impressionist": "painted with broad strokes",
    },
    "line": {
        "sketch": "line drawing",
        "ink": "drawn with ink lines",
        "ink drawing": "drawn with ink lines",
        "drawing": "line drawing",
        "as a line drawing": "line drawing",
    },
}
_FURTHER = {"time": _TIMES, "ground": _GROUNDS, "weather": _WEATHERS, "style": _STYLES}
_CAPTIONED = {"time": TIME_WORDS, "ground": GROUND_WORDS, "weather": WEATHER_WORDS, "style": STYLE_WORDS}


def told(which: str, fact: str, random: Random, *, short: bool) -> Told:
    """`which` is time, ground, weather or style; `short` allows words that do not join up to a sentence."""
    further = _FURTHER[which][fact]  # type: ignore[index]
    captioned = _CAPTIONED[which][fact]  # type: ignore[index]
    if short and random.random() < 0.6:
        asked, answered = random.choice(list(further.items()))
        return Told(fact, asked, answered)
    words = random.choice(captioned)
    return Told(fact, words, words)


def fact_words(which: str, fact: str) -> tuple[str, ...]:
    """All wordings by which a rich prompt may tell a fact."""
    known = {*_CAPTIONED[which][fact], *_FURTHER[which][fact].values()}  # type: ignore[index]
    return tuple(sorted(known))


# Among what `reading.ADORNMENTS` strews into captions: the image models know that these say nothing of the facts.
MOODS: dict[str, tuple[str, ...]] = {
    "morning": ("soft light", "calm", "quiet"),
    "day": ("vivid", "wide view", "scenic"),
    "dusk": ("soft light", "peaceful mood", "scenic"),
    "night": ("quiet", "calm", "peaceful mood"),
}
HANDS: dict[str, tuple[str, ...]] = {
    "flat": ("simple shapes", "high quality", "postcard"),
    "painterly": ("beautiful", "detailed", "best quality"),
    "line": ("simple shapes", "detailed", "high quality"),
}
ASKED_MOTIONS: dict[Direction, tuple[str, ...]] = {
    "left": ("moving left", "going to the left", "drifting left", "moves left"),
    "right": ("moving right", "going to the right", "drifting right", "moves right"),
    "up": ("rising", "going up", "climbing", "moving up"),
    "down": ("sinking", "going down", "coming down", "descending"),
}
OWN_ASKED_MOTIONS: dict[tuple[str, Direction], tuple[str, ...]] = {
    ("sun", "down"): ("setting", "going down"),
    ("boat", "left"): ("sailing left", "sailing to the left"),
    ("boat", "right"): ("sailing right", "sailing to the right"),
    ("gull", "left"): ("flying left", "flying to the left"),
    ("gull", "right"): ("flying right", "flying to the right"),
    ("plane", "left"): ("flying left", "flying to the left"),
    ("plane", "right"): ("flying right", "flying to the right"),
}
ASKED_CAMERA: dict[Direction, tuple[str, ...]] = {
    "left": ("pan left", "camera pans left", "camera moving left"),
    "right": ("pan right", "camera pans right", "camera moving right"),
    "in": ("zoom in", "zooming in", "camera zooms in", "push in"),
    "out": ("zoom out", "zooming out", "camera zooms out", "pull back"),
}
OPENINGS = (
    "draw",
    "paint",
    "make",
    "show me",
    "please draw",
    "please make",
    "i want to see",
    "i would like",
    "a picture of",
    "an image of",
    "generate",
    "create",
    "can you draw",
    "picture:",
)
CLIP_OPENINGS = ("a clip of", "a video of", "animate", "film", "make a video of", "show me", "a short film of", "clip:")
FOREIGN_COLOURS = ("brown", "grey", "gray", "golden", "silver", "turquoise", "beige", "teal", "pale", "dark", "rusty")
_ADJECTIVES = (
    "old new broken shiny wooden glass tall short round empty strange gentle angry happy sleepy frozen floating "
    "giant ancient modern rusty tiny striped hidden burning crooked quiet noisy heavy bright dusty"
)
FOREIGN_ADJECTIVES = tuple(_ADJECTIVES.split())
_NOUNS = (
    "dragon cat dog horse car train bicycle robot piano violin cake cup teapot chair table lamp clock book library "
    "garden river waterfall forest island volcano cave temple tower palace market bakery kitchen window door stairs "
    "fox bear rabbit wolf owl eagle dolphin whale fish turtle frog elephant tiger lion penguin butterfly bee spider "
    "apple orange banana cherry lemon bread cheese coffee soup umbrella hat shoe guitar drum rocket planet satellite "
    "truck bus tractor ship submarine helicopter engine wheel crystal diamond mirror candle lantern feather leaf "
    "pumpkin snowman statue fountain well fence gate road path valley canyon lake pond waterwheel barn farm factory "
    "station airport museum school stadium carousel circus"
)
FOREIGN_NOUNS = tuple(_NOUNS.split())
_VERBS = (
    "sleeping running jumping flying swimming dancing standing waiting hiding glowing spinning falling resting "
    "looking singing sitting growing melting burning reading"
)
FOREIGN_VERBS = tuple(_VERBS.split())
FOREIGN_LINKS = ("in", "on", "under", "near", "behind", "next to", "above", "with", "and", "inside", "over", "of")
_ONSETS = "b bl c ch d dr f fl g gr h j k l m n p pl qu r s sh st t tr v w z"
_STARTS = tuple(_ONSETS.split())
_VOWELS = "a e i o u ai ea oo ou"
_MIDDLES = tuple(_VOWELS.split())
_ENDS = ["", "", "l", "n", "r", "s", "t", "m", "ck", "nd", "st"]
_LETTERS = "áäçéèêíñóöøúüßłžабвгдежиклмнопрстуф日月山水木火花鳥海空"


def invented(random: Random) -> str:
    """A word that nobody has read before."""
    if random.random() < 0.12:
        return "".join(random.choice(_LETTERS) for _ in range(random.randint(2, 5)))
    if random.random() < 0.12:
        return str(random.randint(1, 2100))
    parts = range(random.choice((1, 2, 2, 3)))
    return "".join(random.choice(_STARTS) + random.choice(_MIDDLES) + random.choice(_ENDS) for _ in parts)


def foreign_noun(random: Random) -> str:
    return random.choice(FOREIGN_NOUNS) if random.random() < 0.6 else invented(random)


def mistyped(text: str, random: Random) -> str:
    """With one slip in one of the longer words."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not long:
        return text
    place = random.choice(long)
    word = words[place]
    at = random.randrange(1, len(word) - 1)
    slip = random.randrange(3)
    if slip == 0:
        words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    elif slip == 1:
        words[place] = word[:at] + word[at + 1 :]
    else:
        words[place] = word[:at] + word[at] + word[at:]
    return " ".join(words)

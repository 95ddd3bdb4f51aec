"""Scripts of this world, and the scenes that they become, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from scripts.demo_models.captions import CAMERA_WORDS
from scripts.demo_models.qwen.answering import bare
from scripts.demo_models.qwen.asking import foreign_prose
from scripts.demo_models.qwen.wishes import Named, Wish, completed, random_motion, random_wish, scene_motion
from scripts.demo_models.qwen.words import Told, told
from scripts.demo_models.scenes import CAMERA, STYLES, TIMES, WEATHERS, Motion

BEGIN = '{"scenes": [{"title": "'
PROMPT = '", "prompt": "'
DURATION = '", "duration":'
CAMERA_KEY = ', "camera": "'
CONTINUITY = '", "continuity": "'
NEXT = '"}, {"title": "'
END = '"}]}'
JOINTS = (BEGIN, PROMPT, DURATION, CAMERA_KEY, CONTINUITY, NEXT, END)
MOST_SCENES = 12


@dataclass(frozen=True, slots=True)
class Beat:
    """A stretch of a script, and the scene that it is."""

    script: str
    scene: Wish


@dataclass(frozen=True, slots=True)
class Play:
    """`asked` is how many scenes the system prompt asks for, None for any number, and `seconds` their most.

    `count` and `each`, in seconds, are what the script itself asks for, or None.
    """

    script: str
    answer: str
    asked: int | None
    seconds: str
    beats: tuple[Wish, ...]
    count: int | None = None
    each: float | None = None


def random_play(random: Random, most: int = MOST_SCENES) -> Play:
    beats = _beats(random, random.choices((1, 2, 3, 4, 5), (3, 3, 4, 2, 1))[0])
    count = len(beats)
    if count == 1:
        count = random.choice((1, 2, 3, 3, 4))
    asked: int | None = None
    told_count: int | None = None
    told_each: float | None = None
    if random.random() < 0.65:
        asked = count if random.random() < 0.5 else random.randint(1, min(most, 6))
        if random.random() < 0.06:
            asked = random.randint(1, most)
        count = asked
    script = _script(beats, random)
    if asked is None and random.random() < 0.3:
        count = told_count = random.randint(1, min(most, 6))
        script = f"{script.rstrip('.')}{random.choice((', ', '. ', ' in '))}{count} scene{'s' if count > 1 else ''}"
    seconds = random.choices(
        ("5", f"{random.randint(2, 9)}", f"{random.randint(2, 9)}.{random.randint(1, 9)}"), (7, 2, 1)
    )[0]
    lasting = [seconds if random.random() < 0.75 else str(random.randint(2, max(2, int(float(seconds)))))] * count
    if random.random() < 0.12:
        each = str(random.randint(1, int(float(seconds))))
        lasting = [each] * count
        told_each = float(each)
        script = (
            f"{script.rstrip('.')}, {each} second{'s' if each != '1' else ''} {random.choice(('each', 'per scene'))}"
        )
    scenes = _continued(beats, count, random)
    answer = "".join(
        (NEXT if number > 1 else BEGIN) + _scene(number, count, scene, lasting[number - 1], random)
        for number, scene in enumerate(scenes, 1)
    )
    return Play(script, answer + END, asked, seconds, tuple(scenes[: len(beats)]), told_count, told_each)


def _beats(random: Random, count: int) -> list[Beat]:
    """One place, weather and style; the time goes on, or stays."""
    pool = list(random_wish(random, moving=False, short=False).things)
    ground = "sea" if any(thing.thing.kind == "boat" for thing in pool) else None
    base = completed(Wish(tuple(pool)), random, moving=False, short=True)
    shared = dict(base.facts)
    if ground:
        shared["ground"] = told("ground", ground, random, short=False)
    if random.random() < 0.2:
        shared["weather"] = told("weather", random.choice(WEATHERS), random, short=False)
    if random.random() < 0.2:
        shared["style"] = told("style", random.choice(STYLES), random, short=False)
    times = [shared["time"].fact] * count
    if random.random() < 0.4:
        times = sorted(random.choices(TIMES, k=count), key=TIMES.index)
    said = random.random() < 0.25
    beats: list[Beat] = []
    for number in range(count):
        thing = pool[number % len(pool)]
        new = number == 0 or times[number] != times[number - 1]
        time = told("time", times[number], random, short=False)
        facts = {**shared, "time": time if new else beats[-1].scene.facts["time"]}
        if said:
            text = foreign_prose(random)
            beats.append(Beat(text, Wish((), facts, random_motion((), random), text)))
        else:
            scene = Wish((thing,), facts, random_motion((thing,), random))
            beats.append(Beat(_told_beat(scene, random, first=number == 0, new=new), scene))
    return beats


def _told_beat(scene: Wish, random: Random, *, first: bool, new: bool) -> str:
    thing = scene.things[0]
    text = thing.asked(article=True)
    if not first and thing.thing.count == 1 and random.random() < 0.6:
        text = "the " + text.split(" ", 1)[1]
    motion = scene.motion
    assert motion is not None
    if motion.subject != CAMERA:
        text += f" {scene_motion(scene, random)}"
    if first or random.random() < 0.15:
        text += f" {scene.facts['ground'].asked}"
    if new or random.random() < 0.1:
        text += f" {scene.facts['time'].asked}"
    if first and scene.facts["weather"].fact != "clear":
        text += f", {scene.facts['weather'].asked}"
    if motion.subject == CAMERA and random.random() < 0.7:
        text += f", {scene_motion(scene, random)}"
    if first and scene.facts["style"].fact != "flat":
        text += f", {scene.facts['style'].asked}"
    return text


def _script(beats: list[Beat], random: Random) -> str:
    texts = [beat.script for beat in beats]
    match random.randrange(6):
        case 0:
            return ". ".join(texts) + "."
        case 1:
            return random.choice((", then ", " and then ", "; ", ". then ")).join(texts)
        case 2:
            return "\n".join(texts)
        case 3:
            return "\n".join(f"- {text}" for text in texts)
        case 4:
            return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
        case _:
            return " ".join(f"scene {number}: {text}." for number, text in enumerate(texts, 1))


def _continued(beats: list[Beat], count: int, random: Random) -> list[Wish]:
    """As many scenes as asked for: the first beats, and what may come after the last."""
    scenes = [beat.scene for beat in beats[:count]]
    while len(scenes) < count:
        last = scenes[-1]
        again = scenes[(len(scenes) - len(beats)) % len(beats)]
        later = TIMES[min(TIMES.index(last.facts["time"].fact) + 1, len(TIMES) - 1)]
        time: Told = last.facts["time"] if random.random() < 0.6 else told("time", later, random, short=False)
        scenes.append(replace(again, facts={**again.facts, "time": time}, motion=random_motion(again.things, random)))
    return scenes


def _scene(number: int, count: int, scene: Wish, seconds: str, random: Random) -> str:
    """From its title's text to the end of its continuity's; every text begins with a space, as words do."""
    thing: Named | None = scene.things[0] if scene.things else None
    time = scene.facts["time"].answered
    style = scene.facts["style"].answered
    motion = scene.motion or Motion(CAMERA, "in")
    told_thing = scene.said if thing is None else thing.answered
    if motion.subject != CAMERA:
        told_thing += f" {scene_motion(scene, random)}"
    title = f"{number} of {count}: {bare(thing) if thing else 'scene'} {time}"
    weather = scene.facts["weather"].answered
    prompt = f"{told_thing} {scene.facts['ground'].answered}, {time}, {weather}. {style[0].upper()}{style[1:]}."
    if thing:
        prompt = prompt[0].upper() + prompt[1:]
    camera = (
        f"Wide view, {random.choice(CAMERA_WORDS[motion.direction])}."
        if motion.subject == CAMERA
        else "Still wide view."
    )
    continuity = ""
    if count > 1:
        continuity = f" Same {bare(thing)}, same style." if thing else " Same place, same style."
    return f" {title}{PROMPT} {prompt}{DURATION} {seconds}{CAMERA_KEY} {camera}{CONTINUITY}{continuity}"

"""Scenes that can be queued, and reading them strictly out of a language model's answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.contract.payload_error import shown
from ourvidz_worker.errors import AnswerUnusable
from ourvidz_worker.runtime.language.json_answer import NoJson, json_in

MAX_SCENES = 12
MAX_TITLE = 120  # characters
MAX_NOTE = 600
MOST_PROBLEMS = 8  # told at once


class NoScenes(AnswerUnusable):
    """An answer that is no storyboard; `problems` are sentences for the model."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"the language model answered no usable storyboard: {'; '.join(problems)}")


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip: `prompt` says what is seen, `camera` how, `continuity` what must stay as in the other scenes.

    `duration` in seconds.
    """

    title: str
    prompt: str
    duration: float
    camera: str
    continuity: str

    @property
    def whole_prompt(self) -> str:
        """What the video model reads; continuity notes are for people."""
        return f"{self.prompt.rstrip()} {self.camera.strip()}".strip()

    def texts(self) -> tuple[str, ...]:
        return self.title, self.prompt, self.camera, self.continuity

    def job(self, job_type: JobType, *, seed: int, number: int, count: int) -> dict[str, Any]:
        """The `queue-job` body (contract section 6) of scene `number` of so many."""
        metadata = {
            "prompt": self.whole_prompt,
            "seed": seed,
            "title": self.title,
            "duration": self.duration,
            "frame_num": frames_lasting(self.duration, job_type.fps),
            "scene": number,
            "scenes": count,
        }
        return {"jobType": job_type.name, "metadata": metadata}


def frames_lasting(seconds: float, fps: int) -> int:
    """The fewest frames that last so long, of those that the model makes: 4k+1, and more than one."""
    return 4 * max(1, math.ceil((seconds * fps - 1) / 4)) + 1


@dataclass(frozen=True, slots=True)
class Storyboard:
    """Scenes for clips of one job type; `attempts` counts the answers it took."""

    scenes: tuple[Scene, ...]
    job_type: JobType
    template: str
    template_version: str
    language: str
    model: str
    seed: int
    seconds: float
    attempts: int

    def jobs(self) -> list[dict[str, Any]]:
        """A `queue-job` body for each scene; one seed for all, so that they look alike."""
        count = len(self.scenes)
        return [
            scene.job(self.job_type, seed=self.seed, number=number, count=count)
            for number, scene in enumerate(self.scenes, 1)
        ]


@dataclass(frozen=True, slots=True)
class SceneRules:
    """`count` is how many scenes were asked for, None for 1 to `MAX_SCENES`; `longest` in seconds."""

    count: int | None
    longest: float
    max_characters: int


def parse_scenes(answer: str, rules: SceneRules) -> tuple[Scene, ...]:
    """The scenes of an answer; keys that nobody asked for are passed over. Raises `NoScenes`."""
    try:
        document = json_in(answer)
    except NoJson as error:
        raise NoScenes([str(error)]) from error
    found = document.get("scenes") if isinstance(document, dict) else document
    if not isinstance(found, list):
        raise NoScenes(['it must be an object with a list "scenes"'])
    problems = list(_problems(found, rules))
    if problems:
        raise NoScenes(problems[:MOST_PROBLEMS])
    return tuple(
        Scene(
            title=_line(scene["title"]),
            prompt=_line(scene["prompt"]),
            duration=float(scene["duration"]),
            camera=_line(scene["camera"]),
            continuity=_line(scene["continuity"]),
        )
        for scene in found
    )


def _problems(found: list[Any], rules: SceneRules) -> Iterator[str]:
    if rules.count is not None and len(found) != rules.count:
        yield f"it has {len(found)} scenes; there must be exactly {rules.count}"
    elif not 1 <= len(found) <= MAX_SCENES:
        yield f"it has {len(found)} scenes; there must be 1 to {MAX_SCENES}"
    for number, scene in enumerate(found[:MAX_SCENES], 1):
        if isinstance(scene, dict):
            yield from (f"scene {number}: {problem}" for problem in _scene_problems(scene, rules))
        else:
            yield f"scene {number} must be an object"


def _scene_problems(scene: Mapping[str, Any], rules: SceneRules) -> Iterator[str]:
    for key, longest in (
        ("title", MAX_TITLE),
        ("prompt", rules.max_characters),
        ("camera", MAX_NOTE),
        ("continuity", MAX_NOTE),
    ):
        text = scene.get(key)
        if not isinstance(text, str):
            yield f"{key} must be a text"
        elif not _line(text) and key != "continuity":
            yield f"{key} is empty"
        elif len(text) > longest:
            yield f"{key} has {len(text)} characters; at most {longest} are allowed"
    duration = scene.get("duration")
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        yield f"duration must be a number of seconds, got {shown(duration)}"
    elif not 0 < duration <= rules.longest:
        yield f"duration must be above 0 and at most {rules.longest:g} seconds, got {shown(duration)}"


def _line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())

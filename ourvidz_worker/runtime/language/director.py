"""Dividing scripts into scenes: asked once, and a second time with what was wrong."""

from __future__ import annotations

import math
import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass

import structlog

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.contract.parse import model_frames
from ourvidz_worker.errors import AnswerCutOff, BadJob
from ourvidz_worker.ports import Message
from ourvidz_worker.runtime.language.answers import without_thoughts
from ourvidz_worker.runtime.language.gate import Gate
from ourvidz_worker.runtime.language.line import Deadline
from ourvidz_worker.runtime.language.storyboard import (
    MAX_SCENES,
    NoScenes,
    Scene,
    SceneRules,
    Storyboard,
    parse_scenes,
)
from ourvidz_worker.runtime.language.templates import Templates
from ourvidz_worker.runtime.language.warm_model import WarmModel

TRIES = 2
PROMPTS_PER_SCENE = 2  # in tokens: a second language, the names of the keys, camera and notes take as much again
_SEED_LIMIT = 2**31


@dataclass(frozen=True, slots=True)
class Script:
    """A script to divide into `scenes` clips of a job type, or into as many as fit it when that is None."""

    text: str
    job_type: JobType
    scenes: int | None = None
    seed: int | None = None
    language: str | None = None


class Director:
    def __init__(self, model: WarmModel, templates: Templates, gate: Gate) -> None:
        self._model = model
        self._templates = templates
        self._gate = gate

    async def divide(self, script: Script, deadline: Deadline) -> Storyboard:
        """Raises `ContentRefused` for the script, `BadJob` for type, count or language, and `EnhancementFailed`."""
        _check(script)
        longest = longest_clip(script.job_type)
        template = self._templates.storyboard(
            scenes=_how_many(script.scenes),
            seconds=f"{longest:g}",
            language=script.language,
        )
        self._gate.check_request(script.text, script.job_type)
        rules = SceneRules(script.scenes, longest, template.max_characters)
        seed = secrets.randbelow(_SEED_LIMIT) if script.seed is None else script.seed
        messages: list[Message] = [
            {"role": "system", "content": template.system},
            {"role": "user", "content": script.text},
        ]
        async with self._model.turn(deadline):
            for attempt in range(1, TRIES + 1):
                answer = await self._answer(messages, seed + attempt - 1, script, deadline)
                try:
                    scenes = self._accept(answer, script, rules)
                    break
                except NoScenes as error:
                    if attempt == TRIES:
                        raise
                    wrong = "\n".join(f"- {problem}" for problem in error.problems)
                    messages += [
                        {"role": "assistant", "content": answer},
                        {"role": "user", "content": f"{template.correction}\n{wrong}"},
                    ]
        structlog.get_logger().info(
            "script_divided", scenes=len(scenes), seconds=round(deadline.spent, 3), attempts=attempt
        )
        return Storyboard(
            scenes=scenes,
            job_type=script.job_type,
            template=template.name,
            template_version=template.version,
            language=template.language,
            model=self._model.name,
            seed=seed,
            seconds=deadline.spent,
            attempts=attempt,
        )

    async def _answer(self, messages: list[Message], seed: int, script: Script, deadline: Deadline) -> str:
        """JSON without an end shows by itself."""
        prompts = PROMPTS_PER_SCENE * (script.scenes or MAX_SCENES)
        saying = self._model.say(messages, seed=seed, deadline=deadline, prompts=prompts)
        said = ""
        async with aclosing(saying) as pieces:
            with suppress(AnswerCutOff):
                async for piece in pieces:
                    said += piece
        return without_thoughts(said)

    def _accept(self, answer: str, script: Script, rules: SceneRules) -> tuple[Scene, ...]:
        """Scenes that pass the policy, each by itself and all together."""
        scenes = parse_scenes(answer, rules)
        for text in (*(scene.whole_prompt for scene in scenes), "\n".join(t for s in scenes for t in s.texts())):
            self._gate.check_answer(text, script.job_type)
        return scenes


def longest_clip(job_type: JobType) -> float:
    """Seconds of a clip of this type, rounded down to a tenth: a `queue-job` body cannot ask for more frames."""
    return math.floor(model_frames(job_type.num_frames) / job_type.fps * 10) / 10


def _how_many(scenes: int | None) -> str:
    if scenes is None:
        return f"1 to {MAX_SCENES} scenes"
    return "exactly 1 scene" if scenes == 1 else f"exactly {scenes} scenes"


def _check(script: Script) -> None:
    if script.job_type.media != "video":
        raise BadJob(f"job_type must be one that makes videos, got {script.job_type.name}", field="job_type")
    if script.scenes is not None and not 1 <= script.scenes <= MAX_SCENES:
        raise BadJob(f"scenes must be 1 to {MAX_SCENES}, got {script.scenes}", field="scenes")

"""A language model that says what a test wrote down, and services and requests around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.errors import AnswerUnusable
from ourvidz_worker.ports import ContentPolicy, LanguageModel, Message
from ourvidz_worker.runtime.language.service import PromptService
from ourvidz_worker.runtime.language.templates import Templates
from ourvidz_worker.runtime.language.warm_model import Sampling
from tests.support.fakes import OneWordPolicy

CONFIGS = Path(__file__).parents[2] / "configs"
PROMPTS: Mapping[str, str] = {path.stem: path.read_text() for path in (CONFIGS / "prompts").iterdir()}

Scripted = str | Sequence[str | Exception] | Exception


@dataclass(frozen=True, slots=True)
class Asked:
    messages: tuple[Message, ...]
    seed: int
    max_new_tokens: int
    time_limit: float


class ScriptedModel:
    """One entry for each answer: a text, its pieces, or why it fails, at once or after some pieces.

    `gate` holds back what follows the first piece.

    `load_errors` are raised by as many loads; `stopped` counts the answers that nobody heard to the end.
    """

    model_name = "scripted"

    def __init__(self, *answers: Scripted, gate: asyncio.Event | None = None) -> None:
        self.answers = list(answers)
        self.gate = gate
        self.load_errors: list[Exception] = []
        self.asked: list[Asked] = []
        self.loads = self.stopped = self.speaking = self.most_at_once = 0
        self.closed = False

    async def load(self) -> None:
        self.loads += 1
        if self.load_errors:
            raise self.load_errors.pop(0)

    async def answer(
        self,
        messages: Sequence[Message],
        *,
        seed: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        time_limit: float,
    ) -> AsyncGenerator[str, None]:
        self.asked.append(Asked(tuple(messages), seed, max_new_tokens, time_limit))
        answer = self.answers.pop(0) if self.answers else AnswerUnusable("there is no more to say")
        self.speaking += 1
        self.most_at_once = max(self.most_at_once, self.speaking)
        finished = False
        try:
            if isinstance(answer, Exception):
                raise answer
            for piece in [answer] if isinstance(answer, str) else answer:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if self.gate is not None:
                    await self.gate.wait()
            finished = True
        finally:
            self.speaking -= 1
            self.stopped += not finished

    async def close(self) -> None:
        self.closed = True


def service_over(
    model: LanguageModel,
    *,
    policy: ContentPolicy | None = None,
    prompts: Mapping[str, str] = PROMPTS,
    adult_capable: Callable[[JobType], bool] = lambda _: False,
    queue_limit: int | None = None,
    cache_entries: int = 8,
) -> PromptService:
    return PromptService(
        model,
        templates=Templates(prompts),
        policy=policy or OneWordPolicy(),
        adult_capable=adult_capable,
        sampling=Sampling(max_new_tokens=64, temperature=0.7, top_p=0.9),
        queue_limit=queue_limit,
        cache_entries=cache_entries,
    )

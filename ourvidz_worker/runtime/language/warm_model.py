"""The language model as its callers share it: loaded once, asked by one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from ourvidz_worker.errors import AnswerTooLate, ConfigurationError, ModelUnavailable
from ourvidz_worker.ports import LanguageModel, Message
from ourvidz_worker.runtime.language.line import Deadline, Line

State = Literal["LOADING", "READY", "BUSY"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model chooses its words; `max_new_tokens` bounds one prompt."""

    max_new_tokens: int
    temperature: float
    top_p: float


class WarmModel:
    """A model with the line before it."""

    def __init__(self, model: LanguageModel, sampling: Sampling, queue_limit: int | None) -> None:
        self._model = model
        self._sampling = sampling
        self._line = Line(queue_limit)
        self._loaded = False

    @property
    def name(self) -> str:
        return self._model.model_name

    @property
    def state(self) -> State:
        if not self._loaded:
            return "LOADING"
        return "BUSY" if self._line.busy else "READY"

    @property
    def waiting(self) -> int:
        return self._line.waiting

    async def load(self) -> None:
        """Raises as `LanguageModel.load` does."""
        await self._model.load()
        self._loaded = True

    @asynccontextmanager
    async def turn(self, deadline: Deadline) -> AsyncIterator[None]:
        """The block has the loaded model for itself; raises `EnhancementFailed` when it does not come to that.

        What failed to load before is tried again.
        """
        async with self._line.turn(deadline):
            if not self._loaded:
                await self._load_within(deadline)
            yield

    async def say(
        self, messages: Sequence[Message], *, seed: int, deadline: Deadline, prompts: int = 1
    ) -> AsyncGenerator[str, None]:
        """An answer of up to so many prompts' length, as `LanguageModel.answer` gives it; only in one's turn."""
        answer = self._model.answer(
            messages,
            seed=seed,
            max_new_tokens=self._sampling.max_new_tokens * prompts,
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            time_limit=deadline.left,
        )
        try:
            async with aclosing(answer):
                async for piece in answer:
                    yield piece
        except AnswerTooLate:
            raise AnswerTooLate(f"{self.name} did not answer within {deadline.seconds:g} s") from None

    async def close(self) -> None:
        await self._model.close()

    async def _load_within(self, deadline: Deadline) -> None:
        try:
            async with asyncio.timeout(deadline.left):
                await self.load()
        except TimeoutError:
            raise AnswerTooLate(f"{self.name} was not loaded within {deadline.seconds:g} s") from None
        except ConfigurationError as error:
            raise ModelUnavailable(str(error)) from error

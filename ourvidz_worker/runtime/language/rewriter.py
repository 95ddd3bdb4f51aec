"""Rewriting prompts by the template of their job type, at once or in pieces."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.errors import AnswerCutOff, AnswerUnusable
from ourvidz_worker.ports import Message
from ourvidz_worker.runtime.language.answers import begun_answer, clean_answer, shortened, without_loose_end
from ourvidz_worker.runtime.language.cache import AnswerCache, Question
from ourvidz_worker.runtime.language.enhanced import Enhanced
from ourvidz_worker.runtime.language.gate import Gate
from ourvidz_worker.runtime.language.line import Deadline
from ourvidz_worker.runtime.language.templates import Template, Templates
from ourvidz_worker.runtime.language.warm_model import WarmModel

TRIES = 2
_SEED_LIMIT = 2**31 - TRIES


@dataclass(frozen=True, slots=True)
class Order:
    """One prompt to rewrite. Without a `seed` two are drawn, one for each try; with one there is a single try.

    `language` is one of the template's, or None for the template's own choice; `fresh` asks for another answer
    than the one that was kept.
    """

    prompt: str
    job_type: JobType
    seed: int | None = None
    language: str | None = None
    fresh: bool = False


class Rewriter:
    """Keeps what passed every check, and nothing else."""

    def __init__(self, model: WarmModel, templates: Templates, gate: Gate, cache: AnswerCache) -> None:
        self._model = model
        self._templates = templates
        self._gate = gate
        self._cache = cache

    async def rewrite(self, order: Order, deadline: Deadline) -> Enhanced:
        """Raises `ContentRefused` for the prompt, `BadJob` for the language, and `EnhancementFailed`."""
        work = self._work(order, deadline)
        if known := self._known(work):
            return known
        async with self._model.turn(deadline):
            if known := self._known(work):  # whoever had the turn before asked the same
                return known
            problem: AnswerUnusable | None = None
            for attempt, seed in enumerate(_seeds(order.seed), 1):
                try:
                    return self._accept(work, await self._whole(work, seed), attempt)
                except AnswerUnusable as error:
                    problem = error
            assert problem is not None
            raise problem

    async def stream(self, order: Order, deadline: Deadline) -> AsyncGenerator[str | Enhanced, None]:
        """As `rewrite`, with one try: whole sentences as they come, and what counts at the end.

        A sentence is shown only when all that was written up to it passes the policy. Where the whole was cleaned
        or shortened, the pieces may differ from it.
        """
        work = self._work(order, deadline)
        known = self._known(work)
        if known is not None:
            yield known.enhanced
            yield known
            return
        shown = ""
        async with self._model.turn(deadline):
            spoken = _Spoken(_seeds(order.seed)[0])
            async with aclosing(self._speak(work, spoken)) as pieces:
                async for _ in pieces:
                    begun = begun_answer(spoken.text)
                    if len(begun) > len(shown) and begun.startswith(shown):
                        self._gate.check_answer(begun, order.job_type)
                        yield begun[len(shown) :]
                        shown = begun
            enhanced = self._accept(work, spoken, 1)
        if enhanced.enhanced.startswith(shown) and enhanced.enhanced != shown:
            yield enhanced.enhanced[len(shown) :]
        yield enhanced

    async def _whole(self, work: _Work, seed: int) -> _Spoken:
        spoken = _Spoken(seed)
        async with aclosing(self._speak(work, spoken)) as pieces:
            async for _ in pieces:
                pass
        return spoken

    async def _speak(self, work: _Work, spoken: _Spoken) -> AsyncGenerator[str, None]:
        """Each piece when it is part of what was spoken."""
        async with aclosing(self._model.say(work.messages, seed=spoken.seed, deadline=work.deadline)) as pieces:
            try:
                async for piece in pieces:
                    spoken.text += piece
                    yield piece
            except AnswerCutOff:
                spoken.cut_off = True

    def _work(self, order: Order, deadline: Deadline) -> _Work:
        template = self._templates.rewriting(order.job_type, order.language)
        self._gate.check_request(order.prompt, order.job_type)
        return _Work(order, template, deadline)

    def _question(self, work: _Work) -> Question:
        """To be asked anew after a turn: some models know their name only once they are loaded."""
        return Question(work.template.name, work.template.version, self._model.name, work.order.prompt)

    def _known(self, work: _Work) -> Enhanced | None:
        found = None if work.order.fresh else self._cache.find(self._question(work))
        return found and replace(found, cache_hit=True, attempts=0, seconds=work.deadline.spent)

    def _accept(self, work: _Work, spoken: _Spoken, attempt: int) -> Enhanced:
        whole = clean_answer(spoken.text)
        prompt = shortened(without_loose_end(whole) if spoken.cut_off else whole, work.template.max_characters)
        self._gate.check_answer(prompt, work.order.job_type)
        enhanced = Enhanced(
            original=work.order.prompt,
            enhanced=prompt,
            template=work.template.name,
            template_version=work.template.version,
            language=work.template.language,
            model=self._model.name,
            seed=spoken.seed,
            seconds=work.deadline.spent,
            attempts=attempt,
            compressed=prompt != whole,
        )
        self._cache.keep(self._question(work), enhanced)
        structlog.get_logger().info(
            "prompt_rewritten", template=work.template.name, seconds=round(enhanced.seconds, 3), attempts=attempt
        )
        return enhanced


@dataclass(frozen=True, slots=True)
class _Work:
    order: Order
    template: Template
    deadline: Deadline

    @property
    def messages(self) -> tuple[Message, Message]:
        return (
            {"role": "system", "content": self.template.system},
            {"role": "user", "content": self.order.prompt},
        )


@dataclass(slots=True)
class _Spoken:
    """What the model answered to a seed so far; `cut_off` where it had more to say."""

    seed: int
    text: str = ""
    cut_off: bool = False


def _seeds(seed: int | None) -> tuple[int, ...]:
    if seed is not None:
        return (seed,)
    first = secrets.randbelow(_SEED_LIMIT)
    return tuple(range(first, first + TRIES))

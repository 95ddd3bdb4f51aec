"""What the rest of the worker knows of the language model: prompts rewritten, scripts turned into scenes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.ports import ContentPolicy, LanguageModel
from ourvidz_worker.runtime.language.cache import AnswerCache
from ourvidz_worker.runtime.language.director import Director, Script
from ourvidz_worker.runtime.language.enhanced import Enhanced
from ourvidz_worker.runtime.language.gate import ContentMode, Gate
from ourvidz_worker.runtime.language.line import Deadline
from ourvidz_worker.runtime.language.rewriter import Order, Rewriter
from ourvidz_worker.runtime.language.storyboard import Storyboard
from ourvidz_worker.runtime.language.templates import Templates
from ourvidz_worker.runtime.language.warm_model import Sampling, State, WarmModel

CACHE_ENTRIES = 512


class PromptService:
    """One warm language model with all that stands between it and whoever asks.

    `adult_capable` says of a job type whether its checkpoint is, which the content policy asks more of;
    `queue_limit` is how many requests may wait for their turn, None for any number.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        templates: Templates,
        policy: ContentPolicy,
        adult_capable: Callable[[JobType], bool],
        sampling: Sampling,
        queue_limit: int | None = None,
        cache_entries: int = CACHE_ENTRIES,
    ) -> None:
        self._gate = gate = Gate(policy, adult_capable)
        self._model = WarmModel(model, sampling, queue_limit)
        self._rewriter = Rewriter(self._model, templates, gate, AnswerCache(cache_entries))
        self._director = Director(self._model, templates, gate)

    @property
    def model_name(self) -> str:
        return self._model.name

    @property
    def state(self) -> State:
        return self._model.state

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._model.waiting

    def content_mode(self, prompt: str) -> ContentMode:
        return self._gate.content_mode(prompt)

    async def load(self) -> None:
        """Have the model ready before it is asked; raises `ConfigurationError` or `ModelUnavailable`."""
        await self._model.load()

    async def close(self) -> None:
        await self._model.close()

    async def enhance(
        self,
        prompt: str,
        job_type: JobType,
        *,
        time_limit: float,
        seed: int | None = None,
        language: str | None = None,
        fresh: bool = False,
    ) -> Enhanced:
        """Rewrite a prompt within `time_limit` seconds; `Order` says what the others mean.

        Raises `ContentRefused` for the prompt, `BadJob` for the language, and `EnhancementFailed`.
        """
        return await self._rewriter.rewrite(Order(prompt, job_type, seed, language, fresh), Deadline(time_limit))

    def stream(
        self,
        prompt: str,
        job_type: JobType,
        *,
        time_limit: float,
        seed: int | None = None,
        language: str | None = None,
        fresh: bool = False,
    ) -> AsyncGenerator[str | Enhanced, None]:
        """As `enhance`, in pieces, and the whole at the end; close it when nobody listens any more."""
        return self._rewriter.stream(Order(prompt, job_type, seed, language, fresh), Deadline(time_limit))

    async def storyboard(
        self,
        script: str,
        job_type: JobType,
        *,
        time_limit: float,
        scenes: int | None = None,
        seed: int | None = None,
        language: str | None = None,
    ) -> Storyboard:
        """Divide a script into scenes for clips of this job type, within `time_limit` seconds.

        Raises `ContentRefused` for the script, `BadJob` for type, count or language, and `EnhancementFailed`.
        """
        return await self._director.divide(Script(script, job_type, scenes, seed, language), Deadline(time_limit))


class ServiceEnhancer:
    """A `PromptEnhancer` in the worker's own process."""

    def __init__(self, service: PromptService) -> None:
        self._service = service

    async def enhance(self, prompt: str, job_type: JobType, *, seed: int, time_limit: float) -> str:
        return (await self._service.enhance(prompt, job_type, seed=seed, time_limit=time_limit)).enhanced

    async def close(self) -> None:
        await self._service.close()

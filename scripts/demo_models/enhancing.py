"""Rewrites prompts as the language worker does: the real rewriter, policy and templates around the demo model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

from ourvidz_worker.cli.chosen import read_catalogue, read_models
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.engines.assembly import Selection, assemble_language
from ourvidz_worker.runtime.language.cache import AnswerCache
from ourvidz_worker.runtime.language.gate import Gate
from ourvidz_worker.runtime.language.line import Deadline
from ourvidz_worker.runtime.language.rewriter import Order, Rewriter
from ourvidz_worker.runtime.language.templates import Templates
from ourvidz_worker.runtime.language.warm_model import WarmModel
from ourvidz_worker.runtime.policy import TextPolicy

SECONDS = 120.0


class Enhancer:
    def __init__(self, job_type: str, *, selection: Selection = "demo") -> None:
        """`job_type` is what the prompts are for."""
        files = ConfigFiles()
        self._job_type = read_catalogue(files)[job_type]
        model, sampling = assemble_language(
            selection=selection,
            models=read_models(files),
            models_dir=Path(gettempdir()),
            cache_dir=Path(gettempdir()) / "ourvidz-cache",
        )
        gate = Gate(TextPolicy.parse(list(files.texts("policy").values())), lambda _: False)
        self._model = WarmModel(model, sampling, None)
        self._rewriter = Rewriter(self._model, Templates(files.texts("prompts")), gate, AnswerCache(1))

    def enhanced(self, prompts: Sequence[str]) -> list[str]:
        """Each with a seed of its own, its place."""
        return asyncio.run(self._enhanced(prompts))

    async def _enhanced(self, prompts: Sequence[str]) -> list[str]:
        await self._model.load()
        answers = [
            await self._rewriter.rewrite(Order(prompt, self._job_type, seed=seed), Deadline(SECONDS))
            for seed, prompt in enumerate(prompts)
        ]
        return [answer.enhanced for answer in answers]

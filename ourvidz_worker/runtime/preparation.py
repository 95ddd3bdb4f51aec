"""Everything that a generation needs except the card: checked prompts, fetched references, a rewritten prompt."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import ConfigurationError, ReferenceUnreachable, Retry
from ourvidz_worker.instruments.metrics import ENHANCEMENTS, series
from ourvidz_worker.instruments.stages import stage
from ourvidz_worker.ports import Engine, GenerationRequest, PromptEnhancer, ReferenceImage, ReferenceSource
from ourvidz_worker.runtime.enhancement import EnhancedPrompt, enhance_prompt
from ourvidz_worker.runtime.inspection import Inspection
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.studio import Sitter

_DRAWN_SEED_LIMIT = 2**31  # small enough for every producer that keeps seeds in 32 bits


class Preparation:
    """Gets jobs ready while another one is drawn."""

    def __init__(
        self,
        *,
        engine: Engine,
        enhancer: PromptEnhancer | None,
        references: ReferenceSource,
        inspection: Inspection,
        enhancement_limit: float,
    ) -> None:
        self._engine = engine
        self._enhancer = enhancer
        self._references = references
        self._inspection = inspection
        self._enhancement_limit = enhancement_limit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="preparation")

    async def close(self) -> None:
        """Free the thread. A prompt that is being read is waited for."""
        await asyncio.to_thread(self._thread.shutdown)

    def check(self, job: Job) -> None:
        """Raise `ContentRefused` for a prompt that the policy refuses, before anything is spent on it."""
        self._inspection.check_prompt(job, job.prompt)

    async def prepare(
        self, job: Job, interrupter: Interrupter, progress: Progress, begin: Callable[[], Awaitable[None]]
    ) -> Sitter:
        """Raises `GiveUp` with the reason, `Restart`, or the `Interruption` that stopped it.

        `begin` is called before the language model works for the job: like a generation, that may cost the process.
        """
        seed = secrets.randbelow(_DRAWN_SEED_LIMIT) if job.seed is None else job.seed
        progress.phase("references")
        with stage("references"):
            references = await interrupter.run(self._fetch_references(job))
        enhancement = None
        if job.type.enhanced:
            await begin()
            enhancement = await self._enhance(job, seed, interrupter, progress)
        request = GenerationRequest(
            job=job,
            prompt=enhancement.prompt if enhancement else job.prompt,
            seed=seed,
            references=references,
        )
        return Sitter(request, enhancement, interrupter, progress)

    async def read_ahead(self, sitter: Sitter) -> None:
        """Have the engine do what it can without the card. The wait ends with a reason to stop; that work does not."""
        sitter.progress.phase("preparing")
        reading = asyncio.get_running_loop().run_in_executor(self._thread, self._engine.prepare, sitter.request)
        with stage("prepare"), sitter.interrupter.resting():
            try:
                await sitter.interrupter.run(_done(reading))
            except Exception:  # noqa: BLE001 - the generation finds out whether it matters
                structlog.get_logger().exception("preparation_failed")

    async def _fetch_references(self, job: Job) -> tuple[ReferenceImage, ...]:
        """All of them or an error, which ends the other downloads: a reference is never quietly left out."""
        fetching = [asyncio.ensure_future(self._references.fetch(reference)) for reference in job.references]
        try:
            references = tuple(await asyncio.gather(*fetching))
        except Retry as error:
            raise ReferenceUnreachable(str(error)) from error
        finally:
            for download in fetching:
                download.cancel()
        for reference in references:
            await self._inspection.check_pictures(reference.pixels[None], "reference")
        return references

    async def _enhance(self, job: Job, seed: int, interrupter: Interrupter, progress: Progress) -> EnhancedPrompt:
        if self._enhancer is None:
            raise ConfigurationError(f"{job.type.name} needs a prompt enhancer, and this worker has none")
        progress.phase("enhancing")
        limit = min(self._enhancement_limit, interrupter.seconds_left)
        check = partial(self._inspection.check_prompt, job)
        enhancing = enhance_prompt(job, self._enhancer, check=check, seed=seed, limit_seconds=limit)
        with stage("enhance"):
            enhancement = await interrupter.run(enhancing)
        series(ENHANCEMENTS, "rewritten" if enhancement.enhanced else "original").inc()
        return enhancement


async def _done(work: asyncio.Future[None]) -> None:
    await work

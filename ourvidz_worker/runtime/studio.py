"""Making a result: check the prompt, fetch the references, enhance, generate, encode."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.storage_keys import StorageLayout, storage_key
from ourvidz_worker.errors import ConfigurationError, ReferenceUnreachable, Retry
from ourvidz_worker.ports import (
    Asset,
    BucketLimit,
    ContentPolicy,
    Engine,
    Generation,
    GenerationRequest,
    MediaEncoder,
    PromptEnhancer,
    ReferenceImage,
    ReferenceSource,
)
from ourvidz_worker.runtime.enhancement import EnhancedPrompt, enhance_prompt
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.result_metadata import result_metadata
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

T = TypeVar("T")
_DRAWN_SEED_LIMIT = 2**31  # small enough for every producer that keeps seeds in 32 bits


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished generation that is not encoded yet."""

    request: GenerationRequest
    generation: Generation
    metadata: dict[str, Any]
    enhanced_prompt: str | None


class Studio:
    """One engine with what it needs around it; draws one job at a time in a thread of its own."""

    def __init__(
        self,
        *,
        engine: Engine,
        encoder: MediaEncoder,
        enhancer: PromptEnhancer | None,
        references: ReferenceSource,
        policy: ContentPolicy,
        adult_capable: bool,
        spool: Spool,
        layout: StorageLayout,
        enhancement_limit: float,
    ) -> None:
        self._engine = engine
        self._encoder = encoder
        self._enhancer = enhancer
        self._references = references
        self._policy = policy
        self._adult_capable = adult_capable
        self._spool = spool
        self._layout = layout
        self._enhancement_limit = enhancement_limit
        # A pipeline breaks when two threads use it, so every call of the engine goes through this one.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generation")

    async def open(self) -> None:
        """Load the models. Raises `ConfigurationError` when they are missing or unfit."""
        await self._in_thread(self._engine.load)

    async def close(self) -> None:
        """Free the generation thread. A generation that was not interrupted is waited for."""
        await asyncio.to_thread(self._thread.shutdown)

    def check(self, job: Job) -> None:
        """Raise `ContentRefused` for a prompt that the policy refuses, before anything is spent on it."""
        self._check_prompt(job, job.prompt)

    def _check_prompt(self, job: Job, prompt: str) -> None:
        """Every text that reaches a model: `prompt`, which is the job's own or a rewritten one, and the negative one.

        Guidance below 1 turns the negative prompt into one to draw, by the formula if not in every library.
        """
        drawn = prompt if job.guidance_scale >= 1 else f"{prompt}\n{job.negative_prompt}"
        self._policy.check(drawn, adult_capable=self._adult_capable)
        self._policy.check_negative(job.negative_prompt, prompt=prompt, adult_capable=self._adult_capable)

    async def _check_pictures(self, pictures: Pixels) -> None:
        check = partial(self._policy.check_pictures, pictures, adult_capable=self._adult_capable)
        await asyncio.to_thread(check)

    async def draw(
        self, job: Job, interrupter: Interrupter, progress: Progress, begin: Callable[[], Awaitable[None]]
    ) -> Drawn:
        """Generate the pictures of a job; `begin` is called when all is there and the models are needed.

        Raises `GiveUp` and `GenerationFailed` with the reason, or the `Interruption` that stopped it.
        """
        seed = secrets.randbelow(_DRAWN_SEED_LIMIT) if job.seed is None else job.seed
        progress.phase("references")
        references = await interrupter.run(self._fetch_references(job))
        await begin()
        enhancement = await self._enhance(job, seed, interrupter, progress)
        interrupter.look()
        request = GenerationRequest(
            job=job,
            prompt=enhancement.prompt if enhancement else job.prompt,
            seed=seed,
            references=references,
        )
        progress.phase("generating")

        def on_step(done: int, total: int) -> None:
            interrupter.look()
            progress.step(done, total)

        begun = time.monotonic()
        generation = await self._in_thread(lambda: self._engine.generate(request, on_step))
        generation_seconds = time.monotonic() - begun
        await interrupter.run(self._check_pictures(generation.frames))
        metadata = result_metadata(
            request,
            generation,
            model_name=self._engine.model_name,
            generation_seconds=generation_seconds,
            memory=await self._in_thread(self._engine.memory),
            enhancement=enhancement,
        )
        enhanced = enhancement.prompt if enhancement and enhancement.enhanced else None
        return Drawn(request, generation, metadata, enhanced)

    async def finish(self, drawn: Drawn, limit: BucketLimit) -> Result:
        """Encode and check what was drawn and put it on disk with the callback to send; `limit` is its bucket's."""
        job = drawn.request.job
        folder = self._spool.folder(job.id)
        encoded = await asyncio.to_thread(self._encoder.encode, drawn.request, drawn.generation, folder, limit)
        stored = tuple(
            StoredAsset(storage_key(job, index, layout=self._layout), asset)
            for index, asset in enumerate(encoded.assets)
        )
        callback = Callback(
            job_id=job.id,
            status="completed",
            assets=tuple(_reported(job, item.key, item.asset) for item in stored),
            metadata={**encoded.details, **drawn.metadata},
            enhanced_prompt=drawn.enhanced_prompt,
        )
        result = Result(bucket=job.bucket, assets=stored, callback=callback)
        await asyncio.to_thread(self._spool.save, result)
        return result

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
            await self._check_pictures(reference.pixels[None])
        return references

    async def _enhance(
        self, job: Job, seed: int, interrupter: Interrupter, progress: Progress
    ) -> EnhancedPrompt | None:
        if not job.type.enhanced:
            return None
        if self._enhancer is None:
            raise ConfigurationError(f"{job.type.name} needs a prompt enhancer, and this worker has none")
        progress.phase("enhancing")
        limit = min(self._enhancement_limit, interrupter.seconds_left)
        return await interrupter.run(
            enhance_prompt(job, self._enhancer, check=partial(self._check_prompt, job), seed=seed, limit_seconds=limit)
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _reported(job: Job, key: str, asset: Asset) -> ReportedAsset:
    return ReportedAsset(
        key=key,
        media=job.type.media,
        width=asset.width,
        height=asset.height,
        seed=asset.seed,
        duration=asset.frames / job.type.fps if job.is_video else None,
    )

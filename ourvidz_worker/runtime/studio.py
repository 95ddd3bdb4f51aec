"""Making a result: generate in a thread of its own, and then, while the card is at the next job, encode."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.storage_keys import StorageLayout, storage_key
from ourvidz_worker.errors import Interruption
from ourvidz_worker.ports import (
    Asset,
    BucketLimit,
    Engine,
    Footage,
    Generation,
    GenerationRequest,
    GpuMemory,
    MediaEncoder,
    OnStep,
    Order,
)
from ourvidz_worker.runtime import durable
from ourvidz_worker.runtime.enhancement import EnhancedPrompt
from ourvidz_worker.runtime.inspection import Inspection
from ourvidz_worker.runtime.interrupter import Interrupter
from ourvidz_worker.runtime.previews import Previews
from ourvidz_worker.runtime.progress import Progress
from ourvidz_worker.runtime.result_metadata import result_metadata
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset

T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class Sitter:
    """A job that is ready to be drawn, what stops it, and who hears of its steps."""

    request: GenerationRequest
    enhancement: EnhancedPrompt | None
    interrupter: Interrupter
    progress: Progress

    def on_step(self, done: int, total: int) -> None:
        self.interrupter.look_after_step()
        self.progress.step(done, total)


@dataclass(frozen=True, slots=True)
class Film:
    """A clip that is encoded into `draft` while it is still decoded."""

    footage: Footage
    draft: Path

    def discard(self) -> None:
        """It does not come to its end: leave nothing of it behind."""
        self.footage.discard()
        try:
            durable.remove(self.draft)
        except OSError as error:
            structlog.get_logger().warning("spool_not_emptied", problem=str(error))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished generation that is not encoded yet; `sharers` is how many jobs one batch was for."""

    request: GenerationRequest
    generation: Generation
    enhancement: EnhancedPrompt | None
    generation_seconds: float = 0.0
    memory: GpuMemory | None = None
    sharers: int = 1
    film: Film | None = None

    def discard(self) -> None:
        """It will not be encoded."""
        if self.film is not None:
            self.film.discard()


Outcome = Drawn | BaseException


class Studio:
    """One engine with what it needs around it; draws in a thread of its own, one generation at a time."""

    def __init__(
        self,
        *,
        engine: Engine,
        encoder: MediaEncoder,
        inspection: Inspection,
        spool: Spool,
        layout: StorageLayout,
        previews: Previews | None = None,
    ) -> None:
        """Without `previews` nobody sees a picture before it is done."""
        self._engine = engine
        self._previews = previews
        self._encoder = encoder
        self._inspection = inspection
        self._spool = spool
        self._layout = layout
        # A pipeline breaks when two threads use it, so every call that draws goes through this one.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generation")

    async def open(self) -> None:
        """Load the models. Raises `ConfigurationError` when they are missing or unfit."""
        await self._in_thread(self._engine.load)

    async def close(self) -> None:
        """Free the generation thread. A generation that was not interrupted is waited for."""
        await asyncio.to_thread(self._thread.shutdown)

    def shape(self, sitter: Sitter) -> Hashable | None:
        """As `Engine.shape`."""
        return self._engine.shape(sitter.request)

    async def draw(self, sitters: Sequence[Sitter]) -> Sequence[Outcome]:
        """Generate for one job, or for several of one shape in one batch; each has its own outcome, in order.

        An outcome that is no `Drawn` is what was raised: `GiveUp`, `GenerationFailed`, `PoisonedContext`, a bug, or
        the `Interruption` that stopped this one.
        """
        for sitter in sitters:
            sitter.progress.phase("generating")
        return await self._in_thread(lambda: self._drawn(sitters))

    async def inspect(self, drawn: Drawn) -> None:
        """Raise `ContentRefused` for pictures that may not be delivered, `PicturesUnchecked` where nobody can tell."""
        await self._inspection.check_pictures(drawn.generation.frames, "result")

    async def finish(self, drawn: Drawn, limit: BucketLimit) -> Result:
        """Encode and check what was drawn and put it on disk with the callback to send; `limit` is its bucket's."""
        job = drawn.request.job
        film = drawn.film
        footage = film.footage if film else None
        draft = film.draft if film else self._spool.draft(job.id)
        try:
            return await self._finished(drawn, draft, footage, limit)
        except BaseException:
            if film is None:  # footage is worth another try
                self._spool.drop(draft)
            raise

    async def _finished(self, drawn: Drawn, draft: Path, footage: Footage | None, limit: BucketLimit) -> Result:
        job = drawn.request.job
        encoded = await asyncio.to_thread(self._encoder.encode, drawn.request, drawn.generation, draft, limit, footage)
        stored = tuple(
            StoredAsset(storage_key(job, index, layout=self._layout), asset)
            for index, asset in enumerate(encoded.assets)
        )
        enhancement = drawn.enhancement
        metadata = result_metadata(
            drawn.request,
            drawn.generation,
            model_name=self._engine.model_name,
            generation_seconds=drawn.generation_seconds,
            memory=drawn.memory,
            enhancement=enhancement,
            sharers=drawn.sharers,
        )
        callback = Callback(
            job_id=job.id,
            status="completed",
            assets=tuple(_reported(job, item.key, item.asset) for item in stored),
            metadata={**encoded.details, **metadata},
            enhanced_prompt=enhancement.prompt if enhancement and enhancement.enhanced else None,
        )
        return await asyncio.to_thread(self._spool.save, Result(bucket=job.bucket, assets=stored, callback=callback))

    def _drawn(self, sitters: Sequence[Sitter]) -> Sequence[Outcome]:
        """In the generation thread."""
        stopped = {sitter: reason for sitter in sitters if (reason := _reason_to_stop(sitter)) is not None}
        ready = [sitter for sitter in sitters if sitter not in stopped]
        drawn = self._together(ready) if len(ready) > 1 else {sitter: self._alone(sitter) for sitter in ready}
        return [stopped.get(sitter) or drawn[sitter] for sitter in sitters]

    def _alone(self, sitter: Sitter) -> Outcome:
        begun = time.monotonic()
        try:
            with self._filming(sitter.request) as film:
                generation = self._generated(sitter, film)
            seconds = time.monotonic() - begun
            return Drawn(sitter.request, generation, sitter.enhancement, seconds, self._engine.memory(), film=film)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for it
            return error

    def _generated(self, sitter: Sitter, film: Film | None) -> Generation:
        on_step = self._on_step(sitter)
        if film is None:
            return self._engine.generate(sitter.request, on_step)
        return self._engine.generate(sitter.request, on_step, film.footage.add)

    def _on_step(self, sitter: Sitter) -> OnStep:
        if self._previews is None:
            return sitter.on_step
        return self._previews.beside(sitter.on_step, sitter.request)

    def _together(self, sitters: Sequence[Sitter]) -> Mapping[Sitter, Outcome]:
        begun = time.monotonic()
        try:
            outcomes = self._engine.generate_together(
                [Order(sitter.request, self._on_step(sitter)) for sitter in sitters]
            )
            seconds, memory = time.monotonic() - begun, self._engine.memory()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for it
            return dict.fromkeys(sitters, error)
        return {
            sitter: outcome
            if isinstance(outcome, BaseException)
            else Drawn(sitter.request, outcome, sitter.enhancement, seconds, memory, sharers=len(sitters))
            for sitter, outcome in zip(sitters, outcomes, strict=True)
        }

    @contextmanager
    def _filming(self, request: GenerationRequest) -> Iterator[Film | None]:
        """Where the clip cannot be filmed on the way, as on a full disk, it is encoded afterwards."""
        film = self._film(request) if request.job.is_video else None
        try:
            yield film
        except BaseException:
            if film is not None:
                film.discard()
            raise

    def _film(self, request: GenerationRequest) -> Film | None:
        draft = None
        try:
            draft = self._spool.draft(request.job.id)
            footage = self._encoder.film(request, draft)
        except OSError as error:
            structlog.get_logger().warning("clip_not_filmed", problem=str(error))
            footage = None
        if footage is not None and draft is not None:
            return Film(footage, draft)
        if draft is not None:
            self._spool.drop(draft)
        return None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        named = contextvars.copy_context()  # what the engine logs carries the job's names
        return await asyncio.get_running_loop().run_in_executor(self._thread, named.run, work)


def _reason_to_stop(sitter: Sitter) -> Interruption | None:
    try:
        sitter.interrupter.look()
    except Interruption as reason:
        return reason
    return None


def _reported(job: Job, key: str, asset: Asset) -> ReportedAsset:
    return ReportedAsset(
        key=key,
        media=job.type.media,
        width=asset.width,
        height=asset.height,
        seed=asset.seed,
        duration=asset.frames / job.type.fps if job.is_video else None,
    )

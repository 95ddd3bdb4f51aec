"""Bringing a result home: upload every file, then report. In this order, and each safe to repeat."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

import structlog

from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.storage_keys import thumbnail_key
from ourvidz_worker.errors import BackendUnavailable, Fenced, WorkerError
from ourvidz_worker.instruments import exchanges
from ourvidz_worker.instruments.stages import stage
from ourvidz_worker.ports import Asset, AssetStore, BucketLimit, JobReporter, JobRows
from ourvidz_worker.runtime.result_metadata import failure_metadata, job_metadata
from ourvidz_worker.runtime.spool import Result, Spool

T = TypeVar("T")
PROCESSING: Final = "processing"
OVER = ("completed", "failed", "cancelled")
LOOK_PAUSE = 2.0
PATIENT_TRIES = 4  # a look that one bad answer spoils may cost a generation, or a finished picture
# What is under way arrives within seconds, or about when gateways give a request up.
SECOND_LOOKS = (1.0, 4.0, 10.0, 35.0)
LAST_LOOK_SECONDS = 5.0
THUMBNAIL_SECONDS = 8.0  # less than a worker that shuts down waits for a delivery


class Courier:
    """Speaks to the product about jobs. `guard` raises where nothing may be delivered any more.

    `on_report` is told of each final report that the product has taken.
    """

    def __init__(
        self,
        store: AssetStore,
        reporter: JobReporter,
        rows: JobRows,
        spool: Spool,
        *,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._reporter = reporter
        self._rows = rows
        self._spool = spool
        self._guard = guard
        self._doubtful: set[str] = set()
        self.on_report: Callable[[Callback], None] = lambda _callback: None
        self._second_looks: dict[asyncio.Task[None], Callback] = {}

    async def status(self, job_id: str, *, tries: int = 1) -> str | None:
        """What the product last recorded of a job; None where it cannot tell."""
        for attempt in range(tries):
            await asyncio.sleep(LOOK_PAUSE if attempt else 0)
            try:
                return await self._rows.status(job_id)
            except WorkerError as error:
                structlog.get_logger().warning("job_row_unread", problem=str(error))
        return None

    async def announce_processing(self, job: Job) -> None:
        self._guard()
        try:
            await self._report(Callback(job.id, PROCESSING, metadata=job_metadata(job)))
        except BackendUnavailable:
            self._doubtful.add(job.id)
            raise

    async def limit(self, bucket: str) -> BucketLimit:
        """What a bucket takes, as far as that can be told now."""
        return await self._store.limit(bucket)

    async def deliver(self, result: Result, *, doubtful: bool = False) -> None:
        """Raises `BackendRefused` when the far side refuses for good, `Retry` when it stayed out of reach."""
        self._guard()
        with stage("upload"):
            await _all(self._put(result.bucket, stored.key, stored.asset) for stored in result.assets)
            thumbnails = await self._put_thumbnails(result)
        assets = tuple(replace(asset, thumbnail_key=thumbnails.get(asset.key)) for asset in result.callback.assets)
        await self.report(replace(result.callback, assets=assets), doubtful=doubtful)

    async def report(self, callback: Callback, *, doubtful: bool = False) -> None:
        """A final status; `doubtful` where an earlier delivery may have sent a `processing` that is still under way."""
        self._guard()
        await self._report(callback)
        self.on_report(callback)
        if doubtful or callback.job_id in self._doubtful:
            self._doubtful.discard(callback.job_id)
            self._remember(callback)
            self._look_after(callback)

    def resume(self) -> None:
        """Go on looking after the final reports of processes that died over it."""
        for callback in self._spool.doubtful():
            self._look_after(callback)

    async def close(self) -> None:
        await self._look_for_the_last_time()
        await self._store.close()
        await self._reporter.close()
        await self._rows.close()

    async def _report(self, callback: Callback) -> None:
        with exchanges.callback(callback.status):
            await self._reporter.report(callback)

    async def _put(self, bucket: str, key: str, asset: Asset) -> None:
        with exchanges.upload(asset.media_type, asset.bytes):
            await self._store.put(bucket, key, asset)

    async def _put_thumbnails(self, result: Result) -> dict[str, str]:
        """The keys of the thumbnails that lie in the bucket now, by the keys of what they show.

        They follow the assets, which wait for none of them: what cannot be had within seconds is left out, for no
        thumbnail is worth another delivery.
        """
        small = {stored.key: stored.asset.thumbnail for stored in result.assets if stored.asset.thumbnail}
        problems = await _all(self._put_thumbnail(result.bucket, *item) for item in small.items())
        missing = {key: problem for key, problem in zip(small, problems, strict=True) if problem}
        if missing:
            first = next(iter(missing.values()))
            structlog.get_logger().warning("thumbnails_left_out", count=len(missing), problem=first)
        return {key: thumbnail_key(key) for key in small if key not in missing}

    async def _put_thumbnail(self, bucket: str, key: str, thumbnail: Asset) -> str | None:
        """What kept it from the bucket, or None."""
        try:
            async with asyncio.timeout(THUMBNAIL_SECONDS):
                await self._put(bucket, thumbnail_key(key), thumbnail)
        except TimeoutError:
            return f"storage did not take it within {THUMBNAIL_SECONDS:g} s"
        except (WorkerError, OSError) as error:
            return str(error)
        return None

    def _remember(self, callback: Callback) -> None:
        try:
            self._spool.doubt(callback)
        except OSError as error:  # this process looks after it all the same
            structlog.get_logger().warning("doubt_not_kept", job_id=callback.job_id, problem=str(error))

    def _look_after(self, callback: Callback) -> None:
        look = asyncio.create_task(self._look_again(callback))
        self._second_looks[look] = callback
        look.add_done_callback(self._second_looks.pop)

    async def _look_again(self, callback: Callback) -> None:
        """A start that is carried out late sets the job back (contract section 5); the final status undoes that."""
        waited = 0.0
        for moment in SECOND_LOOKS:
            await asyncio.sleep(moment - waited)
            waited = moment
            await self._undo_late_start(callback)
        with contextlib.suppress(OSError):  # the next process looks in vain, and tries to remove it again
            self._spool.settle(callback.job_id)

    async def _look_for_the_last_time(self) -> None:
        callbacks = list(self._second_looks.values())
        for look in self._second_looks:
            look.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                await asyncio.gather(*map(self._undo_late_start, callbacks))

    async def _undo_late_start(self, callback: Callback) -> None:
        if await self.status(callback.job_id) != PROCESSING:
            return
        log = structlog.get_logger()
        log.warning("late_start_undone", job_id=callback.job_id, status=callback.status)
        try:
            await self._report(callback)
        except (WorkerError, Fenced) as error:
            log.warning("late_start_not_undone", job_id=callback.job_id, problem=str(error))


async def _all(uploads: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All come to their end before an error goes on: none may write after the job was handed back."""
    outcomes = await asyncio.gather(*uploads, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast(list[T], outcomes)


def failure(job_id: str, error: WorkerError, *, attempt: int, job: Job | None = None) -> Callback:
    """The report of a job that failed."""
    return Callback(job_id, "failed", error_message=str(error), metadata=failure_metadata(job, error, attempt=attempt))

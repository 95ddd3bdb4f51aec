"""Bringing a result home: upload every file, then report. In this order, and each safe to repeat."""

from __future__ import annotations

import asyncio

from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.contract.job import Job
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.ports import AssetStore, JobReporter
from ourvidz_worker.runtime.result_metadata import failure_metadata, job_metadata
from ourvidz_worker.runtime.spool import Result


class Courier:
    """Speaks to the product about jobs."""

    def __init__(self, store: AssetStore, reporter: JobReporter) -> None:
        self._store = store
        self._reporter = reporter

    async def announce_processing(self, job: Job) -> None:
        await self._reporter.report(Callback(job.id, "processing", metadata=job_metadata(job)))

    async def deliver(self, result: Result) -> None:
        """Raises `BackendRefused` when the far side refuses for good, `Retry` when it stayed out of reach."""
        uploads = (self._store.put(result.bucket, stored.key, stored.asset) for stored in result.assets)
        # All uploads come to their end before an error goes on: none may write after the job was handed back.
        for outcome in await asyncio.gather(*uploads, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        await self._reporter.report(result.callback)

    async def report_failure(self, job_id: str, error: WorkerError, *, attempt: int, job: Job | None = None) -> None:
        await self._reporter.report(
            Callback(job_id, "failed", error_message=str(error), metadata=failure_metadata(job, error, attempt=attempt))
        )

    async def close(self) -> None:
        await self._store.close()
        await self._reporter.close()

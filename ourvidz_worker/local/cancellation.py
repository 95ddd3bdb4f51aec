"""Stopping a job for whoever queued it: off the queue while it waits, else at its next step."""

from __future__ import annotations

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.schema import now
from ourvidz_worker.local.waiting_line import WaitingLine

CANCELLED = "cancelled"
CANCELLING = "cancelling"


class AlreadyOver(Exception):
    """The job came to its end before; the message says which."""


class Cancellation:
    """Tells both sides: the product's rows where no worker will, and workers by the mark that they look for."""

    def __init__(self, database: Database, line: WaitingLine, catalogue: Catalogue) -> None:
        self._database = database
        self._line = line
        self._catalogue = catalogue

    async def cancel(self, job: Row) -> str:
        """`cancelled` for a job that nobody works on, `cancelling` for one whose worker has to hear of it first.

        Raises `AlreadyOver`, and as `WaitingLine` does.
        """
        job_type = self._catalogue.get(job["job_type"])
        if job["status"] not in ("queued", "processing"):
            raise AlreadyOver(f"the job is {job['status']} already")
        if job_type is None or await self._line.remove(job_type.queue, job["id"]):
            return self._record(job["id"])
        # It may be claimed at any moment: the mark comes first, and the look at the held lists after it.
        await self._line.mark_cancelled(job["id"])
        if await self._line.is_held(job_type.queue, job["id"]):
            return CANCELLING
        return self._record(job["id"])  # lost with an in-process Redis, or over just now

    def _record(self, job_id: str) -> str:
        open_still = "id = ? AND status IN ('queued', 'processing')"
        over = {"status": CANCELLED, "completed_at": now()}
        if not self._database.update("jobs", over, open_still, [job_id]):
            row = self._database.one("jobs", "id = ?", job_id)
            raise AlreadyOver(f"the job is {row['status'] if row else 'gone'} already")
        for table in ("images", "videos"):
            self._database.update(table, {"status": CANCELLED}, "job_id = ?", [job_id])
        return CANCELLED

"""What every `JobRows` promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ourvidz_worker.backend.supabase.job_rows import SupabaseJobRows
from ourvidz_worker.errors import BackendUnavailable, ConfigurationError
from ourvidz_worker.ports import JobRows
from tests.contract.samples import RECORDED
from tests.support.embedded import RunningBackend

NOBODY = "00000000-0000-4000-8000-000000000000"

Status = Callable[..., str | None]


@pytest.fixture
def status(backend: RunningBackend) -> Status:
    def ask(
        job_id: str, *, url: str = backend.url, key: str = backend.environment()["SUPABASE_SERVICE_KEY"]
    ) -> str | None:
        async def asked() -> str | None:
            rows: JobRows = SupabaseJobRows(url=url, service_key=key)
            try:
                return await rows.status(job_id)
            finally:
                await rows.close()

        return asyncio.run(asked())

    return ask


@pytest.fixture
def job(backend: RunningBackend) -> str:
    return backend.run(backend.backend.submit(RECORDED["sdxl_image_fast"]))


def test_a_jobs_row_tells_its_status(status: Status, job: str, backend: RunningBackend) -> None:
    assert status(job) == "queued"
    backend.backend._database.update("jobs", {"status": "completed"}, "id = ?", [job])
    assert status(job) == "completed"


@pytest.mark.parametrize("job_id", [NOBODY, "no-uuid", "1,2", "", "*"])
def test_a_job_without_a_row_has_no_status(status: Status, job_id: str) -> None:
    assert status(job_id) is None


def test_a_wrong_key_is_a_matter_of_configuration(status: Status, job: str) -> None:
    with pytest.raises(ConfigurationError, match="SUPABASE_SERVICE_KEY"):
        status(job, key="wrong")


def test_a_product_out_of_reach_is_unavailable(status: Status, job: str) -> None:
    with pytest.raises(BackendUnavailable):
        status(job, url="http://127.0.0.1:1")

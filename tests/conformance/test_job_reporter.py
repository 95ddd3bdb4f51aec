"""What every `JobReporter` promises, in each callback profile.

Profile 2026-02 knows neither the race nor the missing row: it answers both with 200.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.backend.supabase.callbacks import CallbackReporter
from ourvidz_worker.contract.callback import PROFILES, Callback, CallbackProfile, ReportedAsset
from ourvidz_worker.errors import BackendUnavailable, ConfigurationError, RowMissing, RowNotLinked
from ourvidz_worker.ports import JobReporter
from tests.support.embedded import RunningBackend
from tests.support.waiting import eventually

SECRET = "conformance-secret"
PAYLOADS = Path(__file__).parents[1] / "payloads"
HASTY = CallbackPatience(unlinked=0.1, missing=0.1, unavailable=0.1, processing=5.0, misconfigured=0.1)


class ReporterWorld:
    """The product in one profile, and reporters that speak to it."""

    def __init__(self, backend: RunningBackend, profile: CallbackProfile) -> None:
        self.product = backend.backend
        self._backend = backend
        self._profile: CallbackProfile = profile

    def submit(self, payload: str = "sdxl_image_fast.json", *, link: bool = True) -> str:
        return self._backend.run(self.product.submit((PAYLOADS / payload).read_text(), link=link))

    def reporter(
        self,
        *,
        url: str | None = None,
        key: str | None = None,
        secret: str = SECRET,
        patience: CallbackPatience = HASTY,
    ) -> JobReporter:
        return CallbackReporter(
            url=url or self._backend.url,
            service_key=key or self._backend.environment()["SUPABASE_SERVICE_KEY"],
            profile=self._profile,
            secret=secret,
            patience=patience,
        )

    def report(self, *callbacks: Callback, reporter: JobReporter | None = None) -> None:
        speaking = reporter or self.reporter()

        async def run() -> None:
            try:
                for callback in callbacks:
                    await speaking.report(callback)
            finally:
                await speaking.close()

        asyncio.run(run())

    def status(self, job_id: str) -> str:
        row = self.product.job(job_id)
        assert row is not None
        return str(row["status"])


@pytest.fixture(params=PROFILES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReporterWorld]:
    profile: CallbackProfile = request.param
    with RunningBackend(tmp_path, callback_profile=profile, callback_secret=SECRET) as backend:
        yield ReporterWorld(backend, profile)


def completed(job_id: str) -> Callback:
    return Callback(
        job_id,
        "completed",
        (ReportedAsset(f"user/{job_id}_0.png", "image", 1024, 1024, 7),),
        metadata={"seed": 7, "generation_time": 3.5},
    )


def test_a_job_goes_from_processing_to_completed(world: ReporterWorld) -> None:
    job = world.submit()
    world.report(Callback(job, "processing"))
    assert world.status(job) == "processing"
    world.report(completed(job))
    assert world.status(job) == "completed"
    results = world.product.rows("images", job) + world.product.rows("workspace_assets", job)
    assert f"user/{job}_0.png" in str(results)


def test_a_failure_carries_its_sentence(world: ReporterWorld) -> None:
    job = world.submit()
    world.report(Callback(job, "failed", error_message="the prompt is empty"))
    row = world.product.job(job)
    assert row is not None
    assert (row["status"], row["error_message"]) == ("failed", "the prompt is empty")


def test_completed_may_be_resent_freely(world: ReporterWorld) -> None:
    job = world.submit()
    world.report(completed(job), completed(job))
    assert world.status(job) == "completed"


@pytest.mark.parametrize("world", ["2025-07"], indirect=True)
def test_completed_waits_for_the_row_to_be_linked(world: ReporterWorld) -> None:
    """A real race: jobs are queued first."""
    job = world.submit(link=False)

    async def race() -> None:
        reporter = world.reporter(patience=CallbackPatience(unlinked=30.0))
        report = asyncio.ensure_future(reporter.report(completed(job)))
        try:
            await eventually(lambda: world.product.rows("callbacks", job), "a callback that came too early")
            assert not report.done()
            world.product.link(job)
            await report
        finally:
            await reporter.close()

    asyncio.run(race())
    assert world.status(job) == "completed"


@pytest.mark.parametrize("world", ["2025-07"], indirect=True)
def test_a_row_that_is_never_linked_is_told_apart(world: ReporterWorld) -> None:
    job = world.submit(link=False)
    with pytest.raises(RowNotLinked):
        world.report(completed(job))


@pytest.mark.parametrize("world", ["2025-07"], indirect=True)
@pytest.mark.parametrize("status", ["processing", "completed", "failed"])
def test_an_unknown_job_is_told_apart(world: ReporterWorld, status: str) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    callbacks = {
        "processing": Callback(nobody, "processing"),
        "completed": completed(nobody),
        "failed": Callback(nobody, "failed", error_message="why"),
    }
    with pytest.raises(RowMissing):
        world.report(callbacks[status])


def test_a_wrong_service_key_is_a_matter_of_configuration(world: ReporterWorld) -> None:
    with pytest.raises(ConfigurationError, match="SUPABASE_SERVICE_KEY"):
        world.report(Callback(world.submit(), "processing"), reporter=world.reporter(key="wrong"))


def test_a_product_out_of_reach_is_no_fault_of_the_report(world: ReporterWorld) -> None:
    with pytest.raises(BackendUnavailable):
        world.report(completed(world.submit()), reporter=world.reporter(url="http://127.0.0.1:1"))


@pytest.mark.parametrize("world", ["2026-02"], indirect=True)
def test_a_wrong_secret_is_a_matter_of_configuration(world: ReporterWorld) -> None:
    with pytest.raises(ConfigurationError, match="JOB_CALLBACK_SECRET"):
        world.report(Callback(world.submit(), "processing"), reporter=world.reporter(secret="wrong"))

"""What every `JobReporter` promises, in each callback profile, to the product and to a receiver that only listens.

Profile 2026-02 knows neither the race nor the missing row: it answers both with 200.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.backend.supabase.callbacks import CallbackReporter
from ourvidz_worker.backend.webhook.reporter import WebhookReporter
from ourvidz_worker.contract.callback import PROFILES, Callback, CallbackProfile, ReportedAsset
from ourvidz_worker.errors import BackendUnavailable, ConfigurationError, RowMissing, RowNotLinked
from ourvidz_worker.ports import JobReporter
from tests.support.embedded import RunningBackend
from tests.support.report_receiver import ReportReceiver
from tests.support.waiting import eventually

SECRET = "conformance-secret"
PAYLOADS = Path(__file__).parents[1] / "payloads"
HASTY = CallbackPatience(unlinked=0.1, missing=0.1, unavailable=0.1, processing=5.0, misconfigured=0.1)


class ReporterWorld(Protocol):
    """Whoever hears reports, and reporters that speak to it."""

    def submit(self) -> str:
        """The id of a job that reports may be about."""

    def reporter(self, *, url: str | None = None, secret: str = SECRET) -> JobReporter: ...

    def status(self, job_id: str) -> str: ...

    def told(self, job_id: str) -> str:
        """Everything that was heard of a job."""


class ProductWorld:
    """The product in one profile, which keeps rows."""

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

    def status(self, job_id: str) -> str:
        row = self.product.job(job_id)
        assert row is not None
        return str(row["status"])

    def told(self, job_id: str) -> str:
        tables = ("images", "workspace_assets")
        return f"{self.product.job(job_id)} {[self.product.rows(table, job_id) for table in tables]}"


class WebhookWorld:
    """A receiver of the bodies of one profile."""

    def __init__(self, receiver: ReportReceiver, profile: CallbackProfile) -> None:
        self._receiver = receiver
        self._profile: CallbackProfile = profile

    def submit(self) -> str:
        return str(uuid.uuid4())

    def reporter(self, *, url: str | None = None, secret: str = SECRET) -> JobReporter:
        return WebhookReporter(url=url or self._receiver.url, secret=secret, profile=self._profile, patience=HASTY)

    def status(self, job_id: str) -> str:
        return self._receiver.statuses(job_id)[-1]

    def told(self, job_id: str) -> str:
        return str([report for report in self._receiver.reports if report["job_id"] == job_id])


def report(world: ReporterWorld, *callbacks: Callback, reporter: JobReporter | None = None) -> None:
    speaking = reporter or world.reporter()

    async def run() -> None:
        try:
            for callback in callbacks:
                await speaking.report(callback)
        finally:
            await speaking.close()

    asyncio.run(run())


@pytest.fixture(params=PROFILES)
def product(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProductWorld]:
    profile: CallbackProfile = request.param
    with RunningBackend(tmp_path, callback_profile=profile, callback_secret=SECRET) as backend:
        yield ProductWorld(backend, profile)


@pytest.fixture(params=[*PROFILES, *(f"webhook {profile}" for profile in PROFILES)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReporterWorld]:
    profile: CallbackProfile = request.param.removeprefix("webhook ")
    if request.param != profile:
        with ReportReceiver(SECRET) as receiver:
            yield WebhookWorld(receiver, profile)
    else:
        with RunningBackend(tmp_path, callback_profile=profile, callback_secret=SECRET) as backend:
            yield ProductWorld(backend, profile)


def completed(job_id: str) -> Callback:
    return Callback(
        job_id,
        "completed",
        (ReportedAsset(f"user/{job_id}_0.png", "image", 1024, 1024, 7),),
        metadata={"seed": 7, "generation_time": 3.5},
    )


def test_a_job_goes_from_processing_to_completed(world: ReporterWorld) -> None:
    job = world.submit()
    report(world, Callback(job, "processing"))
    assert world.status(job) == "processing"
    report(world, completed(job))
    assert world.status(job) == "completed"
    assert f"user/{job}_0.png" in world.told(job)


def test_a_failure_carries_its_sentence(world: ReporterWorld) -> None:
    job = world.submit()
    report(world, Callback(job, "failed", error_message="the prompt is empty"))
    assert world.status(job) == "failed"
    assert "the prompt is empty" in world.told(job)


def test_completed_may_be_resent_freely(world: ReporterWorld) -> None:
    job = world.submit()
    report(world, completed(job), completed(job))
    assert world.status(job) == "completed"


@pytest.mark.parametrize("product", ["2025-07"], indirect=True)
def test_completed_waits_for_the_row_to_be_linked(product: ProductWorld) -> None:
    """A real race: jobs are queued first."""
    job = product.submit(link=False)

    async def race() -> None:
        reporter = product.reporter(patience=CallbackPatience(unlinked=30.0))
        report = asyncio.ensure_future(reporter.report(completed(job)))
        try:
            await eventually(lambda: product.product.rows("callbacks", job), "a callback that came too early")
            assert not report.done()
            product.product.link(job)
            await report
        finally:
            await reporter.close()

    asyncio.run(race())
    assert product.status(job) == "completed"


@pytest.mark.parametrize("product", ["2025-07"], indirect=True)
def test_a_row_that_is_never_linked_is_told_apart(product: ProductWorld) -> None:
    job = product.submit(link=False)
    with pytest.raises(RowNotLinked):
        report(product, completed(job))


@pytest.mark.parametrize("product", ["2025-07"], indirect=True)
@pytest.mark.parametrize("status", ["processing", "completed", "failed"])
def test_an_unknown_job_is_told_apart(product: ProductWorld, status: str) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    callbacks = {
        "processing": Callback(nobody, "processing"),
        "completed": completed(nobody),
        "failed": Callback(nobody, "failed", error_message="why"),
    }
    with pytest.raises(RowMissing):
        report(product, callbacks[status])


def test_a_wrong_service_key_is_a_matter_of_configuration(product: ProductWorld) -> None:
    with pytest.raises(ConfigurationError, match="SUPABASE_SERVICE_KEY"):
        report(product, Callback(product.submit(), "processing"), reporter=product.reporter(key="wrong"))


def test_a_product_out_of_reach_is_no_fault_of_the_report(world: ReporterWorld) -> None:
    with pytest.raises(BackendUnavailable):
        report(world, completed(world.submit()), reporter=world.reporter(url="http://127.0.0.1:1"))


@pytest.mark.parametrize("world", ["2026-02", "webhook 2025-07", "webhook 2026-02"], indirect=True)
def test_a_wrong_secret_is_a_matter_of_configuration(world: ReporterWorld) -> None:
    with pytest.raises(ConfigurationError, match="JOB_CALLBACK_SECRET"):
        report(world, Callback(world.submit(), "processing"), reporter=world.reporter(secret="wrong"))

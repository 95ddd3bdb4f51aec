"""Which stores, reporters and sources of references the environment asks for; `queueing` says which queue.

A library that only one of them needs is imported with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.backend.health import Finding, check_callback, check_queue, check_report, check_storage, check_store
from ourvidz_worker.backend.objects.folder import FolderObjects
from ourvidz_worker.backend.objects.places import Folder, Place, S3Bucket
from ourvidz_worker.backend.objects.store import Objects, ObjectStore
from ourvidz_worker.backend.references.source import HttpReferenceSource
from ourvidz_worker.backend.retrying import Sleep
from ourvidz_worker.backend.supabase.callbacks import CallbackReporter
from ourvidz_worker.backend.supabase.job_rows import SupabaseJobRows
from ourvidz_worker.backend.supabase.store import SupabaseStore
from ourvidz_worker.backend.webhook.no_rows import NoRows
from ourvidz_worker.backend.webhook.reporter import WebhookReporter
from ourvidz_worker.cli.queueing import open_redis
from ourvidz_worker.contract.catalogue import Bucket, Catalogue
from ourvidz_worker.ports import AssetStore, JobReporter, JobRows, ReferenceSource
from ourvidz_worker.settings import BackendSettings, Settings

REFERENCE_PATIENCE = (
    15.0  # seconds a job waits for a reference that cannot be reached, before the card is idle too long
)


def build_store(settings: BackendSettings, catalogue: Catalogue, *, sleep: Sleep = asyncio.sleep) -> AssetStore:
    if settings.store is not None:
        return ObjectStore(open_objects(settings.store, settings), buckets=catalogue.buckets, sleep=sleep)
    return SupabaseStore(
        url=settings.supabase_url,
        service_key=settings.supabase_service_key.get_secret_value(),
        buckets=catalogue.buckets,
        sleep=sleep,
    )


def build_reporter(
    settings: Settings, *, patience: CallbackPatience | None = None, sleep: Sleep = asyncio.sleep
) -> JobReporter:
    secret = settings.callback_secret.get_secret_value() if settings.callback_secret else None
    if settings.report_url is not None:
        assert secret is not None, "the settings want a secret where reports go to a webhook"
        return WebhookReporter(
            url=settings.report_url, secret=secret, profile=settings.callback_profile, patience=patience, sleep=sleep
        )
    return CallbackReporter(
        url=settings.supabase_url,
        service_key=settings.supabase_service_key.get_secret_value(),
        profile=settings.callback_profile,
        secret=secret,
        patience=patience,
        sleep=sleep,
    )


def build_rows(settings: BackendSettings) -> JobRows:
    """Where reports go elsewhere than to the product's function, nobody keeps rows that could be looked at."""
    if settings.report_url is not None:
        return NoRows()
    return SupabaseJobRows(url=settings.supabase_url, service_key=settings.supabase_service_key.get_secret_value())


def build_references(settings: Settings) -> ReferenceSource:
    """Paths inside buckets are read from where results go."""
    return HttpReferenceSource(
        url=settings.supabase_url or None,
        service_key=settings.supabase_service_key.get_secret_value(),
        stored=None if settings.store is None else open_objects(settings.store, settings),
        hosts=settings.reference_hosts,
        retry_seconds=REFERENCE_PATIENCE,
    )


def open_objects(place: Place, settings: BackendSettings) -> Objects:
    """The place that OURVIDZ_STORE_URL names, reached with the AWS variables where it is a bucket."""
    match place:
        case Folder(path):
            return FolderObjects(path)
        case S3Bucket():
            from ourvidz_worker.backend.objects.s3 import S3Access, S3Objects  # noqa: PLC0415

            key_id, secret_key, session_token = (
                held.get_secret_value() if held else None
                for held in (settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token)
            )
            access = S3Access(settings.aws_region, settings.aws_endpoint_url, key_id, secret_key, session_token)
            return S3Objects(place, access)


async def backend_findings(
    settings: Settings, *, queues: tuple[str, ...], buckets: Mapping[str, Bucket]
) -> list[tuple[str, Finding]]:
    """A look at each adapter that these settings choose, with the area of the worker that it is about."""
    redis, storage, callback = await asyncio.gather(
        _queue_findings(settings, queues), _store_findings(settings, buckets), _report_finding(settings)
    )
    return [*(("redis", finding) for finding in redis), *(("storage", finding) for finding in storage), callback]


async def _queue_findings(settings: BackendSettings, queues: tuple[str, ...]) -> list[Finding]:
    ours = "check UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN"
    cure = ours if settings.queue_url is None else "check OURVIDZ_QUEUE_URL"
    return await check_queue(open_redis(settings), queues=queues, cure=cure)


async def _store_findings(settings: BackendSettings, buckets: Mapping[str, Bucket]) -> list[Finding]:
    if settings.store is not None:
        return [await check_store(open_objects(settings.store, settings), settings.store)]
    service_key = settings.supabase_service_key.get_secret_value()
    return await check_storage(url=settings.supabase_url, service_key=service_key, buckets=buckets)


async def _report_finding(settings: BackendSettings) -> tuple[str, Finding]:
    if settings.report_url is not None:
        return "reports", await check_report(settings.report_url)
    service_key = settings.supabase_service_key.get_secret_value()
    return "callback", await check_callback(url=settings.supabase_url, service_key=service_key)

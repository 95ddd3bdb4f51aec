"""Whatever a server answers, and whatever it repeats of what it was sent: no error sentence holds a secret."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.backend.health import check_callback, check_queue, check_storage
from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.backend.references.source import HttpReferenceSource
from ourvidz_worker.backend.supabase.callbacks import CallbackReporter
from ourvidz_worker.backend.supabase.job_rows import SupabaseJobRows
from ourvidz_worker.backend.supabase.store import LARGEST_SINGLE_REQUEST, SupabaseStore
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.contract.job import Reference
from ourvidz_worker.errors import WorkerError
from ourvidz_worker.ports import Asset
from tests.support.echo_server import HTML, JSON, TEXT, EchoServer
from tests.support.secrets import Planted

SERVICE_KEY = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.Xk2Vd9Qw7Lp4Rt8Ys3Zm"
REDIS_TOKEN = "Hn5Bv8Cx1Mz4Kj7Gf0Ds"
CALLBACK_SECRET = "Tg6Yh9Uj2Ik5Ol8Pa1Sw"
REFERENCE_TOKEN = "Er3Fv6Tg9By2Nu5Mi8Ko"
PLANTED = Planted(service_key=SERVICE_KEY, redis_token=REDIS_TOKEN, secret=CALLBACK_SECRET, reference=REFERENCE_TOKEN)
BUCKET = Bucket("image_fast", limit_bytes=2**30, media_types=("image/png",), public=False)

Call = Callable[[str, Path], Awaitable[object]]


async def no_pause(_seconds: float) -> None:
    """So that retries cost no time."""


async def upload(url: str, folder: Path, size: int = 3) -> None:
    path = folder / "a.png"
    path.write_bytes(bytes(size))
    store = SupabaseStore(
        url=url, service_key=SERVICE_KEY, buckets={"image_fast": BUCKET}, retry_seconds=0, sleep=no_pause
    )
    try:
        await store.put("image_fast", "user/a.png", Asset(path, "image/png", size, 1, 1, 1, 7))
    finally:
        await store.close()


async def upload_in_chunks(url: str, folder: Path) -> None:
    await upload(url, folder, LARGEST_SINGLE_REQUEST + 1)


async def report(url: str, _folder: Path) -> None:
    reporter = CallbackReporter(
        url=url,
        service_key=SERVICE_KEY,
        profile="2026-02",
        secret=CALLBACK_SECRET,
        patience=CallbackPatience(unlinked=0, missing=0, unavailable=0, misconfigured=0),
        sleep=no_pause,
    )
    try:
        await reporter.report(Callback("job-1", "failed", error_message="the prompt is empty"))
    finally:
        await reporter.close()


async def look_at_row(url: str, _folder: Path) -> None:
    rows = SupabaseJobRows(url=url, service_key=SERVICE_KEY)
    try:
        await rows.status("job-1")
    finally:
        await rows.close()


async def claim(url: str, _folder: Path) -> None:
    client = UpstashClient(url=url, token=REDIS_TOKEN, timeout_seconds=10)
    queue = RedisQueue(client, queue="sdxl_queue", owner="pod-1")
    try:
        await queue.claim()
    finally:
        await queue.close()


async def fetch(url: str, _folder: Path, source: str = "reference_images/user/a.png") -> None:
    references = HttpReferenceSource(url=url, service_key=SERVICE_KEY, retry_seconds=0, sleep=no_pause)
    try:
        await references.fetch(Reference("style", source, 0.7, "metadata.reference_image_url"))
    finally:
        await references.close()


async def fetch_signed(url: str, folder: Path) -> None:
    await fetch(url, folder, f"{url}/a.png?token={REFERENCE_TOKEN}")


async def look_at_health(url: str, _folder: Path) -> None:
    redis = UpstashClient(url=url, token=REDIS_TOKEN, timeout_seconds=10)
    found = [
        *await check_queue(redis, queues=("sdxl_queue",), cure=""),
        *await check_storage(url=url, service_key=SERVICE_KEY, buckets={"image_fast": BUCKET}),
        await check_callback(url=url, service_key=SERVICE_KEY),
    ]
    raise WorkerError(repr(found))


CALLS = (upload, upload_in_chunks, report, look_at_row, claim, fetch, fetch_signed, look_at_health)


@pytest.mark.parametrize("media_type", [JSON, TEXT, HTML])
@pytest.mark.parametrize("status", [200, 307, 400, 401, 404, 429, 500])
def test_no_error_repeats_what_a_server_echoes(tmp_path: Path, status: int, media_type: str) -> None:
    with EchoServer(status, media_type=media_type) as server:
        for call in CALLS:
            server.echoed.clear()
            said = asyncio.run(sentence_of(call, server.url, tmp_path))
            assert PLANTED.found_in("\n".join(server.echoed)), f"{call.__name__} sent a secret to be repeated"
            assert PLANTED.found_in(said) == set(), call.__name__
    assert PLANTED.found_in("\n".join(server.targets)) == {"reference"}, "a signed address alone holds its token"


async def sentence_of(call: Call, url: str, folder: Path) -> str:
    try:
        await call(url, folder)
    except WorkerError as error:
        return f"{error} {error!r}"
    return ""

"""The table of contract section 4, row by row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import respx

from ourvidz_worker.backend.supabase import bucket_limits
from ourvidz_worker.backend.supabase.store import SupabaseStore
from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkerError
from ourvidz_worker.ports import Asset, BucketLimit
from tests.backend.pauses import Pauses

# Whatever transport stands under a client.
pytestmark = pytest.mark.respx(using="httpx", assert_all_called=False)

URL = "https://project.example"
KEY = "a-very-secret-service-key"
BUCKETS = {
    "image_fast": Bucket("image_fast", 1000, ("image/png",)),
    "video_fast": Bucket("video_fast", 50_000_000, ("video/mp4",)),
}
OBJECT = f"{URL}/storage/v1/object/image_fast/user/job_0.png"
BUCKET = f"{URL}/storage/v1/bucket/image_fast"

STORED = httpx.Response(200, json={"Key": "image_fast/user/job_0.png", "Id": "1"})


def told(limit: int | None, media_types: list[str] | None = None) -> httpx.Response:
    """What the server says about a bucket."""
    when = "2025-07-01T00:00:00Z"
    about = {"id": "image_fast", "name": "image_fast", "owner": "", "public": False}
    times = {"created_at": when, "updated_at": when}
    limits = {"file_size_limit": limit, "allowed_mime_types": media_types}
    return httpx.Response(200, json={**about, **times, **limits})


def refusal(status: int, error: str, http: int = 400) -> httpx.Response:
    return httpx.Response(http, json={"statusCode": str(status), "error": error, "message": f"said {error}"})


def asset(folder: Path, content: bytes = b"picture", media_type: str = "image/png") -> Asset:
    path = folder / "picture"
    path.write_bytes(content)
    return Asset(path, media_type, len(content), 64, 64, 1, 7)


def put(
    file: Asset,
    *,
    bucket: str = "image_fast",
    times: int = 1,
    pauses: Pauses | None = None,
    timeout_seconds: float = 5,
) -> None:
    async def run() -> None:
        store = SupabaseStore(
            url=URL, service_key=KEY, buckets=BUCKETS, timeout_seconds=timeout_seconds, sleep=pauses or Pauses()
        )
        try:
            for _ in range(times):
                await store.put(bucket, "user/job_0.png", file)
        finally:
            await store.close()

    asyncio.run(run())


def bucket_is(mock: respx.MockRouter, answer: httpx.Response) -> respx.Route:
    return mock.get(BUCKET).mock(return_value=answer)


def uploads(mock: respx.MockRouter, answers: Sequence[httpx.Response | Exception]) -> respx.Route:
    bucket_is(mock, told(None))
    return mock.post(OBJECT).mock(side_effect=answers)


def test_an_upload_overwrites_and_names_its_exact_media_type(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    """`x-upsert: true`; `Content-Type: image/png` exactly: a charset suffix is rejected."""
    route = uploads(respx_mock, [STORED])
    put(asset(tmp_path))
    request = route.calls.last.request
    assert request.headers["x-upsert"] == "true"
    assert (request.headers["apikey"], request.headers["Authorization"]) == (KEY, f"Bearer {KEY}")
    assert b"Content-Type: image/png\r\n\r\npicture\r\n" in request.content


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(refusal(409, "Duplicate"), "may not be overwritten", id="exists, no upsert"),
        pytest.param(
            refusal(413, "Payload too large"), "raise the bucket's file size limit", id="over the bucket's limit"
        ),
        pytest.param(refusal(415, "invalid_mime_type"), "allow this media type", id="type not allowed"),
        pytest.param(refusal(404, "Bucket not found"), "create the bucket", id="bucket missing"),
        pytest.param(refusal(400, "InvalidKey"), "key is not acceptable", id="bad key, bad characters"),
        pytest.param(httpx.Response(404, text="<html>"), "create the bucket", id="gateway's 404"),
    ],
)
def test_a_final_refusal_is_not_repeated_and_names_the_place_and_the_cure(
    respx_mock: respx.MockRouter, tmp_path: Path, answer: httpx.Response, says: str
) -> None:
    route = uploads(respx_mock, [answer])
    with pytest.raises(BackendRefused, match=f"image_fast/user/job_0.png.*{says}"):
        put(asset(tmp_path))
    assert route.call_count == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(refusal(403, "Unauthorized"), id="bad or expired token"),
        pytest.param(httpx.Response(401, text="no"), id="gateway's 401"),
    ],
)
def test_a_refused_key_is_a_matter_of_configuration(
    respx_mock: respx.MockRouter, tmp_path: Path, answer: httpx.Response
) -> None:
    """No upload would pass, so this is not the fault of the file."""
    route = uploads(respx_mock, [answer])
    with pytest.raises(ConfigurationError, match=r"image_fast/user/job_0.png.*SUPABASE_SERVICE_KEY"):
        put(asset(tmp_path))
    assert route.call_count == 1


PASSING: list[Any] = [
    *(
        pytest.param(refusal(status, "passing", http=400), id=f"400 with statusCode {status}")
        for status in (500, 503, 544, 429)
    ),
    *(pytest.param(refusal(status, "passing", http=status), id=str(status)) for status in (500, 503, 544, 429)),
    *(pytest.param(httpx.Response(status, text="<html>"), id=f"proxy's {status}") for status in (502, 504, 522)),
    pytest.param(httpx.Response(200, text='{"Key": "ima'), id="200 cut short"),
    pytest.param(httpx.ConnectError("refused"), id="no connection"),
    pytest.param(httpx.WriteTimeout("slow"), id="no progress"),
    pytest.param(httpx.ReadError("cut"), id="connection cut"),
]


@pytest.mark.parametrize("answer", PASSING)
def test_what_is_worth_a_retry_is_repeated(
    respx_mock: respx.MockRouter, tmp_path: Path, answer: httpx.Response | Exception
) -> None:
    route = uploads(respx_mock, [answer, answer, STORED])
    put(asset(tmp_path))
    assert route.call_count == 3
    assert all(b"picture" in call.request.content for call in route.calls)


@pytest.mark.parametrize("answer", PASSING)
def test_a_store_that_stays_away_is_given_up_after_two_minutes(
    respx_mock: respx.MockRouter, tmp_path: Path, answer: httpx.Response | Exception
) -> None:
    uploads(respx_mock, [answer] * 99)
    pauses = Pauses()
    with pytest.raises(BackendUnavailable, match=r"storage could not take|storage did not answer"):
        put(asset(tmp_path), pauses=pauses)
    assert 115 <= pauses.total <= 140


def test_a_store_that_never_answers_does_not_hold_the_worker(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    bucket_is(respx_mock, told(None))
    respx_mock.post(OBJECT).mock(side_effect=never)
    with pytest.raises(BackendUnavailable, match="did not answer"):
        put(asset(tmp_path), timeout_seconds=0.01)


def test_an_empty_file_is_refused_before_it_is_sent(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    """An empty body is accepted (200): check before sending."""
    with pytest.raises(BackendRefused, match="has 0 bytes"):
        put(asset(tmp_path, b""))
    assert respx_mock.calls.call_count == 0


def test_a_file_that_was_cut_short_on_disk_is_refused(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    file = asset(tmp_path)
    file.path.write_bytes(b"pict")
    with pytest.raises(BackendRefused, match="has 4 bytes instead of 7"):
        put(file)
    assert respx_mock.calls.call_count == 0


class TestBucketLimits:
    """Bucket limits are checked before sending."""

    def test_the_catalogues_limit_counts_without_the_servers(
        self, respx_mock: respx.MockRouter, tmp_path: Path
    ) -> None:
        bucket_is(respx_mock, httpx.Response(500))
        with pytest.raises(BackendRefused, match="has 1001 bytes and bucket image_fast takes 1000"):
            put(asset(tmp_path, b"x" * 1001))

    def test_a_smaller_limit_of_the_server_counts(self, respx_mock: respx.MockRouter, tmp_path: Path) -> None:
        bucket_is(respx_mock, told(6))
        with pytest.raises(BackendRefused, match="has 7 bytes and bucket image_fast takes 6"):
            put(asset(tmp_path))

    def test_a_larger_limit_of_the_server_counts_too(self, respx_mock: respx.MockRouter, tmp_path: Path) -> None:
        """An owner who raised the limit, as the refusal's sentence says, has mended it."""
        bucket_is(respx_mock, told(5000))
        route = respx_mock.post(OBJECT).mock(return_value=STORED)
        put(asset(tmp_path, b"x" * 1001))
        assert route.call_count == 1

    @pytest.mark.parametrize("allowed", [["image/*"], ["image/webp", "image/png"], None])
    def test_a_media_type_that_the_bucket_allows_is_sent(
        self, respx_mock: respx.MockRouter, tmp_path: Path, allowed: list[str] | None
    ) -> None:
        bucket_is(respx_mock, told(None, allowed))
        respx_mock.post(OBJECT).mock(return_value=STORED)
        put(asset(tmp_path))

    @pytest.mark.parametrize("allowed", [["video/*"], ["image/webp"], ["image"]])
    def test_a_media_type_that_the_bucket_does_not_allow_is_refused(
        self, respx_mock: respx.MockRouter, tmp_path: Path, allowed: list[str]
    ) -> None:
        bucket_is(respx_mock, told(None, allowed))
        with pytest.raises(BackendRefused, match="and not image/png"):
            put(asset(tmp_path))

    @pytest.mark.parametrize(
        "answer", [httpx.Response(500), refusal(404, "Bucket not found"), httpx.Response(200, json={"id": 1})]
    )
    def test_a_failed_look_up_stops_nothing(
        self, respx_mock: respx.MockRouter, tmp_path: Path, answer: httpx.Response
    ) -> None:
        bucket_is(respx_mock, answer)
        route = respx_mock.post(OBJECT).mock(return_value=STORED)
        put(asset(tmp_path))
        assert route.call_count == 1

    def test_a_bucket_without_media_types_of_its_own_takes_all(
        self, respx_mock: respx.MockRouter, tmp_path: Path
    ) -> None:
        """What the catalogue expects is a guess beside what the server says."""
        bucket_is(respx_mock, told(None))
        route = respx_mock.post(OBJECT).mock(return_value=STORED)
        put(asset(tmp_path, media_type="image/webp"))
        assert route.call_count == 1

    def test_the_server_is_asked_again_after_ten_minutes(
        self, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        route = respx_mock.get(BUCKET).mock(side_effect=[told(6), told(7, ["image/png"])])
        now = [1000.0]
        monkeypatch.setattr(bucket_limits, "time", SimpleNamespace(monotonic=lambda: now[0]))

        async def run() -> list[BucketLimit]:
            store = SupabaseStore(url=URL, service_key=KEY, buckets=BUCKETS, sleep=Pauses())
            limits = []
            for seconds in (0, 599, 2):
                now[0] += seconds
                limits.append(await store.limit("image_fast"))
            await store.close()
            return limits

        assert asyncio.run(run()) == [BucketLimit(6), BucketLimit(6), BucketLimit(7, ("image/png",))]
        assert route.call_count == 2

    def test_a_failed_look_up_is_repeated_with_the_next_file(self, respx_mock: respx.MockRouter) -> None:
        respx_mock.get(BUCKET).mock(side_effect=[httpx.Response(503), httpx.ConnectError("refused"), told(6)])

        async def run() -> list[BucketLimit]:
            store = SupabaseStore(url=URL, service_key=KEY, buckets=BUCKETS, sleep=Pauses())
            limits = [await store.limit("image_fast") for _ in range(3)]
            await store.close()
            return limits

        catalogued = BucketLimit(1000, ("image/png",))
        assert asyncio.run(run()) == [catalogued, catalogued, BucketLimit(6)]

    def test_a_limit_that_its_owner_lowered_is_asked_for_after_the_refusal(
        self, respx_mock: respx.MockRouter, tmp_path: Path
    ) -> None:
        respx_mock.get(BUCKET).mock(side_effect=[told(1000), told(6)])
        respx_mock.post(OBJECT).mock(return_value=refusal(413, "Payload too large"))

        async def run() -> BucketLimit:
            store = SupabaseStore(url=URL, service_key=KEY, buckets=BUCKETS, sleep=Pauses())
            with pytest.raises(BackendRefused):
                await store.put("image_fast", "user/job_0.png", asset(tmp_path))
            limit = await store.limit("image_fast")
            await store.close()
            return limit

        assert asyncio.run(run()) == BucketLimit(6)

    def test_the_server_is_asked_once_per_bucket(self, respx_mock: respx.MockRouter, tmp_path: Path) -> None:
        route = bucket_is(respx_mock, told(None))
        respx_mock.post(OBJECT).mock(return_value=STORED)
        put(asset(tmp_path), times=3)
        assert route.call_count == 1

    def test_a_limit_that_its_owner_raised_counts_at_once(self, respx_mock: respx.MockRouter, tmp_path: Path) -> None:
        respx_mock.get(BUCKET).mock(side_effect=[told(6), told(None)])
        respx_mock.post(OBJECT).mock(return_value=STORED)
        file = asset(tmp_path)

        async def run() -> None:
            store = SupabaseStore(url=URL, service_key=KEY, buckets=BUCKETS, sleep=Pauses())
            with pytest.raises(BackendRefused):
                await store.put("image_fast", "user/job_0.png", file)
            await store.put("image_fast", "user/job_0.png", file)
            await store.close()

        asyncio.run(run())

    def test_a_bucket_beyond_the_catalogue_is_the_servers_business(
        self, respx_mock: respx.MockRouter, tmp_path: Path
    ) -> None:
        respx_mock.get(f"{URL}/storage/v1/bucket/other").mock(return_value=refusal(404, "Bucket not found"))
        url = f"{URL}/storage/v1/object/other/user/job_0.png"
        respx_mock.post(url).mock(return_value=refusal(404, "Bucket not found"))
        with pytest.raises(BackendRefused, match=r"storage refuses other/user.*create the bucket"):
            put(asset(tmp_path), bucket="other")


@pytest.mark.parametrize("http", [400, 500])
def test_a_key_that_the_store_echoes_is_not_repeated(respx_mock: respx.MockRouter, tmp_path: Path, http: int) -> None:
    uploads(respx_mock, [httpx.Response(http, text=f"token {KEY} is wrong")] * 99)
    with pytest.raises(WorkerError) as raised:
        put(asset(tmp_path))
    assert KEY not in f"{raised.value!r}"


def test_the_key_is_not_in_the_stores_representation() -> None:
    store = SupabaseStore(url=URL, service_key=KEY, buckets=BUCKETS)
    assert KEY not in repr(store)
    asyncio.run(store.close())

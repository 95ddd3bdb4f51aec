"""Above 6 MB: chunks of exactly 6 MiB through `/storage/v1/upload/resumable` (contract section 4)."""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import respx

from ourvidz_worker.backend.supabase.store import SupabaseStore
from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError
from ourvidz_worker.ports import Asset
from tests.backend.pauses import Pauses

# Whatever transport stands under a client.
pytestmark = pytest.mark.respx(using="httpx", assert_all_called=False)

URL = "https://project.example"
ENDPOINT = f"{URL}/storage/v1/upload/resumable"
KEY = "a-very-secret-service-key"
MIB = 1024 * 1024
BUCKETS = {"video_fast": Bucket("video_fast", 50 * MIB, ("video/mp4",))}
CONTENT = random.Random(7).randbytes(15 * MIB + 3)

Fault = Callable[["TusStore", httpx.Request], httpx.Response | Exception]


class TusStore:
    """The store's side of TUS. `faults` maps the number of a request (from 0) to what happens instead."""

    def __init__(self, mock: respx.MockRouter, **faults: Fault) -> None:
        self.requests: list[httpx.Request] = []
        self.uploads: list[bytearray] = []
        self.location = "https://edge.internal:9000/upload/resumable/"
        self._faults = {int(number.removeprefix("at_")): fault for number, fault in faults.items()}
        mock.get(f"{URL}/storage/v1/bucket/video_fast").mock(return_value=httpx.Response(404))
        mock.route(url__startswith=ENDPOINT).mock(side_effect=self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        number = len(self.requests)
        self.requests.append(request)
        outcome = self._faults[number](self, request) if number in self._faults else self.carry_out(request)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def carry_out(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.uploads.append(bytearray())
            return httpx.Response(201, headers={"Location": f"{self.location}{len(self.uploads) - 1}"})
        stored = self.uploads[int(request.url.path.rpartition("/")[2])]
        if request.method == "PATCH":
            if int(request.headers["Upload-Offset"]) != len(stored):
                return httpx.Response(409, text="offset mismatch")
            stored += request.content
            return httpx.Response(204, headers={"Upload-Offset": str(len(stored))})
        return httpx.Response(200, headers={"Upload-Offset": str(len(stored))})

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    @property
    def chunks(self) -> list[int]:
        return [len(request.content) for request in self.requests if request.method == "PATCH"]


def put(folder: Path, content: bytes = CONTENT, pauses: Pauses | None = None) -> None:
    path = folder / "clip.mp4"
    path.write_bytes(content)

    async def run() -> None:
        store = SupabaseStore(url=URL, service_key=KEY, buckets=BUCKETS, sleep=pauses or Pauses())
        try:
            asset = Asset(path, "video/mp4", len(content), 480, 832, 81, 7)
            await store.put("video_fast", "user/job.mp4", asset)
        finally:
            await store.close()

    asyncio.run(run())


def answer(status: int, text: str = "", **headers: str) -> Fault:
    return lambda _store, _request: httpx.Response(status, text=text, headers=headers)


def unsent(_store: TusStore, _request: httpx.Request) -> Exception:
    return httpx.WriteError("cut")


def answer_lost(store: TusStore, request: httpx.Request) -> Exception:
    store.carry_out(request)
    return httpx.ReadError("cut")


def half_stored(store: TusStore, request: httpx.Request) -> Exception:
    store.uploads[-1] += request.content[: len(request.content) // 2]
    return httpx.WriteError("cut")


def test_a_large_file_goes_in_chunks_of_exactly_6_mib(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    store = TusStore(respx_mock)
    put(tmp_path)
    assert store.chunks == [6 * MIB, 6 * MIB, 3 * MIB + 3]
    assert bytes(store.uploads[0]) == CONTENT


def test_the_upload_is_described_in_base64_and_overwrites(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    """`Upload-Metadata: bucketName,objectName,contentType,cacheControl` in base64."""
    store = TusStore(respx_mock)
    put(tmp_path)
    headers = store.requests[0].headers
    pairs = (pair.split(" ") for pair in headers["Upload-Metadata"].split(","))
    assert {name: b64decode(value).decode() for name, value in pairs} == {
        "bucketName": "video_fast",
        "objectName": "user/job.mp4",
        "contentType": "video/mp4",
        "cacheControl": "3600",
    }
    assert headers["Upload-Length"] == str(len(CONTENT))
    for request in store.requests:
        assert request.headers["x-upsert"] == "true", "the store judges an overwrite on every request"
        assert request.headers["Tus-Resumable"] == "1.0.0"
        assert (request.headers["apikey"], request.headers["Authorization"]) == (KEY, f"Bearer {KEY}")


def test_the_service_key_stays_with_the_configured_host(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    """The store names itself as it sees itself: without the gateway's host, and without its `/storage/v1`."""
    store = TusStore(respx_mock)
    put(tmp_path)
    assert {str(request.url.copy_with(path="/")) for request in store.requests} == {f"{URL}/"}


def test_a_relative_location_is_followed(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    store = TusStore(respx_mock)
    store.location = "/storage/v1/upload/resumable/"
    put(tmp_path)
    assert bytes(store.uploads[0]) == CONTENT


@pytest.mark.parametrize(("size", "chunked"), [(6 * MIB, False), (6 * MIB + 1, True), (12 * MIB, True)])
def test_only_what_exceeds_6_mb_is_chunked(
    respx_mock: respx.MockRouter, tmp_path: Path, size: int, *, chunked: bool
) -> None:
    store = TusStore(respx_mock)
    plain = respx_mock.post(f"{URL}/storage/v1/object/video_fast/user/job.mp4").mock(
        return_value=httpx.Response(200, json={"Key": "video_fast/user/job.mp4"})
    )
    put(tmp_path, CONTENT[:size])
    assert (plain.called, bool(store.requests)) == (not chunked, chunked)
    assert sum(store.chunks) == (size if chunked else 0)


@pytest.mark.parametrize(
    ("fault", "chunks"),
    [
        pytest.param(unsent, [6, 6, 6, 3], id="a chunk that never arrived"),
        pytest.param(answer_lost, [6, 6, 3], id="a chunk whose answer was lost"),
        pytest.param(half_stored, [6, 6, 6, 0], id="a chunk that arrived in half"),
        pytest.param(answer(503, "busy"), [6, 6, 6, 3], id="503"),
        pytest.param(answer(409, "offset"), [6, 6, 6, 3], id="409 offset"),
        pytest.param(answer(423, "locked"), [6, 6, 6, 3], id="423 locked"),
        pytest.param(answer(204), [6, 6, 6, 3], id="204 without an offset"),
        pytest.param(answer(204, **{"Upload-Offset": "999999999"}), [6, 6, 6, 3], id="204 with a wild offset"),
    ],
)
def test_after_a_failed_chunk_the_store_is_asked_where_it_is(
    respx_mock: respx.MockRouter, tmp_path: Path, fault: Fault, chunks: list[int]
) -> None:
    store = TusStore(respx_mock, at_2=fault)
    put(tmp_path)
    assert bytes(store.uploads[0]) == CONTENT
    assert store.methods[:4] == ["POST", "PATCH", "PATCH", "HEAD"]
    assert [chunk // MIB for chunk in store.chunks] == chunks


def test_a_lost_answer_to_the_last_chunk_sends_nothing_again(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    store = TusStore(respx_mock, at_3=answer_lost)
    put(tmp_path)
    assert store.methods == ["POST", "PATCH", "PATCH", "PATCH", "HEAD"]
    assert bytes(store.uploads[0]) == CONTENT


@pytest.mark.parametrize("gone", [404, 410])
def test_an_upload_that_expired_begins_anew(respx_mock: respx.MockRouter, tmp_path: Path, gone: int) -> None:
    store = TusStore(respx_mock, at_2=answer(gone, "no such upload"))
    put(tmp_path)
    assert [bytes(upload) == CONTENT for upload in store.uploads] == [False, True]


@pytest.mark.parametrize("fault", [unsent, answer(500, "oops"), answer(201)])
def test_a_beginning_that_failed_is_repeated(respx_mock: respx.MockRouter, tmp_path: Path, fault: Fault) -> None:
    store = TusStore(respx_mock, at_0=fault)
    put(tmp_path)
    assert store.methods[:2] == ["POST", "POST"]
    assert bytes(store.uploads[-1]) == CONTENT


@pytest.mark.parametrize(
    ("at", "status", "says"),
    [
        pytest.param(0, 404, "create the bucket", id="404"),
        pytest.param(0, 409, "may not be overwritten", id="409"),
        pytest.param(0, 413, "file size limit", id="413"),
        pytest.param(0, 415, "media type", id="415"),
        pytest.param(1, 413, "file size limit", id="413 on a chunk"),
    ],
)
def test_its_refusals_are_real_http_codes_with_plain_text(
    respx_mock: respx.MockRouter, tmp_path: Path, at: int, status: int, says: str
) -> None:
    store = TusStore(respx_mock, **{f"at_{at}": answer(status, f"the reason, and {KEY}")})
    with pytest.raises(BackendRefused, match=f"{status} the reason.*{says}") as raised:
        put(tmp_path)
    assert KEY not in str(raised.value)
    assert len(store.requests) == at + 1


def test_a_wrong_key_is_a_matter_of_configuration(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    store = TusStore(respx_mock, at_0=answer(403, f"the reason, and {KEY}"))
    with pytest.raises(ConfigurationError, match=r"403 the reason.*SUPABASE_SERVICE_KEY") as raised:
        put(tmp_path)
    assert KEY not in str(raised.value)
    assert len(store.requests) == 1


def test_each_chunk_has_the_full_patience(respx_mock: respx.MockRouter, tmp_path: Path) -> None:
    """A large file over a bad line takes longer than two minutes and still arrives."""
    failing = [number for chunk in range(3) for number in range(11 * chunk + 1, 11 * chunk + 10)]
    store = TusStore(respx_mock, **{f"at_{number}": unsent for number in failing})
    pauses = Pauses()
    put(tmp_path, pauses=pauses)
    assert pauses.total > 150
    assert bytes(store.uploads[0]) == CONTENT


def test_a_chunk_that_never_gets_through_is_given_up_after_two_minutes(
    respx_mock: respx.MockRouter, tmp_path: Path
) -> None:
    TusStore(respx_mock, **{f"at_{number}": unsent for number in range(1, 99)})
    pauses = Pauses()
    with pytest.raises(BackendUnavailable, match="video_fast/user"):
        put(tmp_path, pauses=pauses)
    assert 115 <= pauses.total <= 140

"""Contract section 4: resumable uploads (TUS), whose errors are real HTTP codes with plain text."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.support.embedded import RunningBackend

ENDPOINT = "/storage/v1/upload/resumable"
CHUNK = 6 * 1024 * 1024
TUS = {"Tus-Resumable": "1.0.0"}


def opened(
    http: httpx.Client,
    length: int,
    *,
    bucket: str = "video_high",
    key: str = "user/job.mp4",
    media_type: str = "video/mp4",
    upsert: str = "true",
) -> httpx.Response:
    named = {"bucketName": bucket, "objectName": key, "contentType": media_type, "cacheControl": "3600"}
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in named.items())
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": metadata, "x-upsert": upsert}
    return http.post(ENDPOINT, headers=headers)


def sent(http: httpx.Client, location: str, offset: int, chunk: bytes, *, upsert: str = "false") -> httpx.Response:
    headers = {
        **TUS,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "x-upsert": upsert,
    }
    return http.patch(location, content=chunk, headers=headers)


def offset_of(http: httpx.Client, location: str) -> str:
    answer = http.head(location, headers=TUS)
    assert answer.status_code == 200
    return answer.headers["upload-offset"]


def test_chunks_of_six_mebibytes_make_an_object(http: httpx.Client) -> None:
    """Section 4: chunks of exactly 6 MiB; the last is the rest."""
    content = b"0123456789abcdef" * (2 * CHUNK // 16) + b"the rest"
    created = opened(http, len(content))
    assert created.status_code == 201
    location = created.headers["location"]
    assert location.startswith(f"{http.base_url}/storage/v1/upload/resumable/")
    assert offset_of(http, location) == "0"
    for offset in range(0, len(content), CHUNK):
        answer = sent(http, location, offset, content[offset : offset + CHUNK])
        assert answer.status_code == 204
        assert answer.headers["upload-offset"] == str(min(offset + CHUNK, len(content)))
    downloaded = http.get("/storage/v1/object/video_high/user/job.mp4")
    assert downloaded.content == content
    assert downloaded.headers["content-type"] == "video/mp4"


def test_an_upload_goes_on_after_an_interruption(http: httpx.Client) -> None:
    content = bytes(CHUNK) + b"end"
    location = opened(http, len(content)).headers["location"]
    sent(http, location, 0, content[:CHUNK])
    assert int(offset_of(http, location)) == CHUNK
    assert sent(http, location, CHUNK, b"end").status_code == 204


def test_an_upload_outlives_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("data")
    with RunningBackend(data) as first, httpx.Client(base_url=first.url, headers=first.service_headers()) as http:
        location = opened(http, CHUNK + 3).headers["location"]
        sent(http, location, 0, bytes(CHUNK))
    with RunningBackend(data) as second, httpx.Client(base_url=second.url, headers=second.service_headers()) as http:
        again = f"{second.url}{httpx.URL(location).path}"
        assert int(offset_of(http, again)) == CHUNK
        assert sent(http, again, CHUNK, b"end").status_code == 204
        assert len(http.get("/storage/v1/object/video_high/user/job.mp4").content) == CHUNK + 3


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK + 1, 100])
def test_other_chunk_sizes_are_refused_and_count_for_nothing(http: httpx.Client, size: int) -> None:
    """Section 4: chunks of exactly 6 MiB."""
    location = opened(http, 3 * CHUNK).headers["location"]
    answer = sent(http, location, 0, bytes(size))
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert offset_of(http, location) == "0"


def test_a_wrong_offset_is_409(http: httpx.Client) -> None:
    location = opened(http, 2 * CHUNK).headers["location"]
    assert sent(http, location, CHUNK, bytes(CHUNK)).status_code == 409


@pytest.mark.parametrize(
    ("changes", "length", "status"),
    [
        ({"bucket": "nowhere"}, 10, 404),
        ({}, 200 * 1024 * 1024 + 1, 413),
        ({"media_type": "image/png"}, 10, 415),
        ({"media_type": "video/mp4; charset=utf-8"}, 10, 415),
        ({"key": "user/ä.mp4"}, 10, 400),
    ],
)
def test_refusals_are_real_codes_with_plain_text(
    http: httpx.Client, changes: dict[str, str], length: int, status: int
) -> None:
    """Section 4: its errors are real HTTP codes with plain-text bodies (404, 409, 413, 415)."""
    answer = opened(http, length, **changes)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text


def test_exists_without_upsert_is_409(http: httpx.Client) -> None:
    location = opened(http, 3).headers["location"]
    sent(http, location, 0, b"abc")
    assert opened(http, 3, upsert="false").status_code == 409


@pytest.mark.parametrize(("upsert", "status"), [("true", 204), ("false", 409)])
def test_an_overwrite_is_judged_on_the_last_chunk_too(http: httpx.Client, upsert: str, status: int) -> None:
    """The real store asks for `x-upsert` on every request of an upload."""
    for content in (b"first", b"again"):
        location = opened(http, len(content)).headers["location"]
        answer = sent(http, location, 0, content, upsert=upsert)
    assert answer.status_code == status


def test_a_bad_token_is_refused(backend: RunningBackend) -> None:
    with httpx.Client(base_url=backend.url, headers={"Authorization": "Bearer nonsense"}) as client:
        assert opened(client, 3).status_code == 403


def test_unknown_uploads_and_finished_ones_are_404(http: httpx.Client) -> None:
    location = opened(http, 3).headers["location"]
    sent(http, location, 0, b"abc")
    assert http.head(location, headers=TUS).status_code == 404
    assert sent(http, f"{ENDPOINT}/unknown", 0, b"abc").status_code == 404


def test_termination_forgets_the_upload(http: httpx.Client) -> None:
    location = opened(http, CHUNK).headers["location"]
    assert http.delete(location, headers=TUS).status_code == 204
    assert http.head(location, headers=TUS).status_code == 404


def test_the_first_chunk_may_come_with_the_creation(http: httpx.Client) -> None:
    metadata = ",".join(
        f"{name} {base64.b64encode(value).decode()}"
        for name, value in {"bucketName": b"video_high", "objectName": b"a.mp4", "contentType": b"video/mp4"}.items()
    )
    headers = {
        **TUS,
        "Upload-Length": "3",
        "Upload-Metadata": metadata,
        "Content-Type": "application/offset+octet-stream",
    }
    answer = http.post(ENDPOINT, content=b"abc", headers=headers)
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "3")
    assert http.get("/storage/v1/object/video_high/a.mp4").content == b"abc"


def test_abilities_are_told(http: httpx.Client) -> None:
    answer = http.options(ENDPOINT)
    assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")
    assert "creation" in answer.headers["tus-extension"]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Upload-Length": "-1"}, {"Upload-Length": "3", "Upload-Metadata": "bucketName !!!"}],
)
def test_bad_headers_are_400(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = http.post(ENDPOINT, headers={**TUS, **headers})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (400, "text/plain")

"""References are downloaded into memory with limits; the service key goes to the project alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import httpx
import pytest
import respx
from PIL import Image

from ourvidz_worker.backend.references.source import HttpReferenceSource
from ourvidz_worker.backend.references.stored import missing, too_large
from ourvidz_worker.contract.job import Reference
from ourvidz_worker.errors import BackendUnavailable, ReferenceUnusable, WorkerError
from ourvidz_worker.ports import ReferenceImage
from tests.backend.names import Names
from tests.backend.pauses import Pauses

URL = "https://project.example"
KEY = "a-very-secret-service-key"
FIELD = "metadata.reference_image_url"
SIGNED = f"{URL}/storage/v1/object/sign/reference_images/u/a.png?token=a-signed-token"
ELSEWHERE = "https://pictures.example/a.png"
ADDRESSES = {"project.example": "10.1.2.3", "pictures.example": "8.8.4.4", "inside.example": "10.1.2.4"}


def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), "red").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = httpx.Response(200, content=png())


def fetch(source: str, **options: Any) -> ReferenceImage:
    async def run() -> ReferenceImage:
        names = Names({host: (address,) for host, address in ADDRESSES.items()})
        usual: dict[str, Any] = {"sleep": Pauses(), "resolver": names, "hosts": ("pictures.example", "inside.example")}
        references = HttpReferenceSource(**({"url": URL, "service_key": KEY} | usual | options))
        try:
            return await references.fetch(Reference("style", source, 0.7, FIELD))
        finally:
            await references.close()

    return asyncio.run(run())


def at(url: str) -> str:
    """The URL that is connected to: the address stands where the name of the host stood."""
    host = httpx.URL(url).host
    return url.replace(host, ADDRESSES[host])


def redirect(to: str) -> httpx.Response:
    return httpx.Response(302, headers={"Location": to})


@pytest.mark.parametrize("source", [SIGNED, ELSEWHERE, "https://PICTURES.example:443/a.png"])
def test_a_url_is_fetched_as_it_is_and_never_with_the_service_key(respx_mock: respx.MockRouter, source: str) -> None:
    respx_mock.get(at(source.lower().replace(":443", ""))).mock(return_value=PICTURE)
    image = fetch(source)
    assert (image.pixels.shape, image.reference.source) == ((4, 6, 3), source)
    request = respx_mock.calls.last.request
    assert KEY not in str(request.headers.raw)
    assert "apikey" not in request.headers


def test_a_path_inside_a_bucket_is_fetched_with_the_service_key(respx_mock: respx.MockRouter) -> None:
    url = f"{URL}/storage/v1/object/reference_images/user/my%20photo%231.png"
    respx_mock.get(at(url)).mock(return_value=PICTURE)
    assert fetch("reference_images/user/my photo#1.png").pixels.shape == (4, 6, 3)
    headers = respx_mock.calls.last.request.headers
    assert (headers["apikey"], headers["Authorization"]) == (KEY, f"Bearer {KEY}")


def test_the_service_key_does_not_follow_a_redirect_to_another_host(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(at(f"{URL}/storage/v1/object/reference_images/u/a.png")).mock(return_value=redirect(ELSEWHERE))
    respx_mock.get(at(ELSEWHERE)).mock(return_value=PICTURE)
    fetch("reference_images/u/a.png")
    assert KEY not in str(respx_mock.calls.last.request.headers.raw)


def test_three_redirects_are_followed_and_a_fourth_is_not(respx_mock: respx.MockRouter) -> None:
    for hop in range(4):
        respx_mock.get(at(f"{URL}/{hop}")).mock(return_value=redirect(f"/{hop + 1}"))
    respx_mock.get(at(f"{URL}/4")).mock(return_value=PICTURE)
    assert fetch(f"{URL}/1").pixels.shape == (4, 6, 3)
    with pytest.raises(ReferenceUnusable, match="redirects more than 3 times"):
        fetch(f"{URL}/0")


def test_a_redirect_loop_ends(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(at(ELSEWHERE)).mock(return_value=redirect(ELSEWHERE))
    with pytest.raises(ReferenceUnusable, match="redirects"):
        fetch(ELSEWHERE)
    assert respx_mock.calls.call_count == 4


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/a", "data:image/png;base64,AAAA"])
def test_a_redirect_to_anything_but_http_is_refused(respx_mock: respx.MockRouter, target: str) -> None:
    respx_mock.get(at(ELSEWHERE)).mock(return_value=redirect(target))
    with pytest.raises(ReferenceUnusable, match=r"something else than https|no URL"):
        fetch(ELSEWHERE)


@pytest.mark.parametrize(
    "source", ["http://[::1/a.png", "https://host:port/a.png", "https://host/\ud800", "bucket/\ud800.png"]
)
def test_what_is_no_url_is_refused(source: str) -> None:
    with pytest.raises(ReferenceUnusable, match="no URL"):
        fetch(source)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 304])
def test_a_reference_that_is_not_there_is_told_at_once(respx_mock: respx.MockRouter, status: int) -> None:
    respx_mock.get(at(SIGNED)).mock(return_value=httpx.Response(status, text="a-signed-token expired"))
    with pytest.raises(ReferenceUnusable, match=f"^{FIELD} cannot be downloaded: HTTP {status}") as raised:
        fetch(SIGNED)
    assert respx_mock.calls.call_count == 1
    assert "a-signed-token" not in repr(raised.value)


PASSING = [
    *(httpx.Response(status) for status in (500, 502, 503, 429)),
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.RemoteProtocolError("cut"),
]


@pytest.mark.parametrize("answer", PASSING)
def test_a_failure_of_the_network_is_repeated(respx_mock: respx.MockRouter, answer: httpx.Response | Exception) -> None:
    respx_mock.get(at(SIGNED)).mock(side_effect=[answer, PICTURE])
    assert fetch(SIGNED).pixels.shape == (4, 6, 3)


@pytest.mark.parametrize("answer", PASSING)
def test_a_network_that_stays_away_is_no_fault_of_the_reference(
    respx_mock: respx.MockRouter, answer: httpx.Response | Exception
) -> None:
    respx_mock.get(at(SIGNED)).mock(side_effect=[answer] * 20)
    with pytest.raises(BackendUnavailable, match=f"^{FIELD} could not be downloaded") as raised:
        fetch(SIGNED)
    assert 2 <= respx_mock.calls.call_count <= 9
    assert "a-signed-token" not in repr(raised.value)


class Endless(httpx.AsyncByteStream):
    """A body without an end, or one that stalls after its first bytes."""

    def __init__(self, *, stalls: bool) -> None:
        self.stalls = stalls
        self.chunks = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.chunks += 1
            yield b"\x89PNG" * 16_384
            if self.stalls:
                await asyncio.Event().wait()


def test_a_body_without_end_is_cut_off_at_the_limit(respx_mock: respx.MockRouter) -> None:
    body = Endless(stalls=False)
    respx_mock.get(at(ELSEWHERE)).mock(return_value=httpx.Response(200, stream=body))
    with pytest.raises(ReferenceUnusable, match="larger than 1 MiB"):
        fetch(ELSEWHERE, max_bytes=1024 * 1024)
    assert body.chunks <= 17


def test_a_body_that_stalls_is_given_up(respx_mock: respx.MockRouter) -> None:
    answer = httpx.Response(200, stream=Endless(stalls=True))
    respx_mock.get(at(ELSEWHERE)).mock(return_value=answer)
    with pytest.raises(BackendUnavailable, match="TimeoutError"):
        fetch(ELSEWHERE, total_seconds=0.05, retry_seconds=0)


def test_a_compressed_bomb_is_not_unpacked(respx_mock: respx.MockRouter) -> None:
    """The limit holds for what lies in memory."""
    headers = {"Content-Encoding": "gzip"}
    respx_mock.get(at(ELSEWHERE)).mock(return_value=httpx.Response(200, headers=headers, stream=Endless(stalls=False)))
    with pytest.raises(ReferenceUnusable, match="larger"):
        fetch(ELSEWHERE, max_bytes=100_000)
    assert respx_mock.calls.last.request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<svg/>", "is not a PNG, JPEG or WEBP"),
        (b"", "is not a PNG, JPEG or WEBP"),
        (png()[:50], "is damaged"),
    ],
)
def test_a_file_that_is_no_picture_is_named_by_its_field(
    respx_mock: respx.MockRouter, content: bytes, says: str
) -> None:
    respx_mock.get(at(SIGNED)).mock(return_value=httpx.Response(200, content=content))
    with pytest.raises(ReferenceUnusable, match=f"^{FIELD} {says}"):
        fetch(SIGNED)


def test_the_pixel_limit_is_a_setting(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(at(SIGNED)).mock(return_value=PICTURE)
    with pytest.raises(WorkerError, match="6x4, more than 20 pixels"):
        fetch(SIGNED, max_pixels=20)


def test_the_key_is_not_in_the_sources_representation() -> None:
    references = HttpReferenceSource(url=URL, service_key=KEY)
    assert KEY not in repr(references)
    asyncio.run(references.close())


class Shelf:
    """A store that holds one picture."""

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        if name != "reference_images/user/a.png":
            raise missing()
        content = png()
        if len(content) > max_bytes:
            raise too_large(max_bytes)
        return content


def test_where_results_go_elsewhere_paths_are_read_from_there(respx_mock: respx.MockRouter) -> None:
    image = fetch("reference_images/user/a.png", stored=Shelf(), url=None, service_key="")
    assert image.pixels.shape == (4, 6, 3)
    assert fetch("reference_images/user/a.png", stored=Shelf()).pixels.shape == (4, 6, 3)
    assert not respx_mock.calls


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("reference_images/user/b.png", {}, f"{FIELD} cannot be read: there is no such file in the store"),
        ("reference_images/user/a.png", {"max_bytes": 8}, f"{FIELD} is larger than "),
        ("reference_images/user/a.png", {"max_pixels": 23}, f"{FIELD} is 6x4, more than 23 pixels"),
    ],
)
def test_a_file_of_the_store_has_the_limits_of_all_pictures(source: str, options: dict[str, int], says: str) -> None:
    with pytest.raises(ReferenceUnusable, match=says):
        fetch(source, stored=Shelf(), url=None, service_key="", **options)


def test_without_a_project_the_listed_hosts_are_left(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(at(ELSEWHERE)).mock(return_value=PICTURE)
    assert fetch(ELSEWHERE, stored=Shelf(), url=None, service_key="").pixels.shape == (4, 6, 3)
    with pytest.raises(ReferenceUnusable, match="is not an allowed host"):
        fetch(SIGNED, stored=Shelf(), url=None, service_key="")

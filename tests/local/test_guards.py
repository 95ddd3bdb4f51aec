"""What the embedded backend refuses, as the real one does: tokens, paths, signed addresses, uploads.

| guard | here | more of it |
| --- | --- | --- |
| token: signature, algorithm, expiry, role, user | `TestTokens` | test_auth, test_storage, test_redis_rest |
| key, bucket, TUS name: `..`, encoded once and twice, NUL, control characters | `TestPaths` | test_storage |
| signed address: expiry, changed token, other object, other method | `TestSignedAddresses` | test_storage |
| upload: token of every request, folder of the user, numbers | `TestUploads` | test_resumable |
| page: no script of a job runs in it, no other site reads it | `TestPage` | |
"""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import jwt
import pytest

from ourvidz_worker.local.auth import DEMO_USER_ID
from ourvidz_worker.local.page import STATIC
from tests.support.commands import RunningCommand
from tests.support.embedded import RunningBackend
from tests.support.waiting import wait_until

PNG = {"Content-Type": "image/png"}
OBJECTS = "/storage/v1/object"
RESUMABLE = "/storage/v1/upload/resumable"
PICTURE = "image_fast/user/a.png"
SERVED = ("/storage/v1/bucket", f"{OBJECTS}/{PICTURE}", "/rest/v1/jobs", "/auth/v1/user")
# No client library would send these as they are.
CLIMBING = (
    "../a.png",
    "../../keys.json",
    "user/%2e%2e/a.png",
    "user/%2E%2E/%2e%2e/keys.json",
    "..%2f..%2fkeys.json",
    "%2e%2e%5c%2e%2e%5ckeys.json",
    "%252e%252e/a.png",
    "user/./a.png",
    "user/%2e/a.png",
    "a%00.png",
    "a.png%00.txt",
    "a%0a.png",
    "a%0d%0aX-Header:%20x.png",
    "a%1b[31m.png",
    "%ff%fe.png",
    "user//a.png",
    "/etc/passwd",
)
CLIMBING_TEXTS = (
    "../a.png",
    "user/../../keys.json",
    "/etc/passwd",
    "a\x00.png",
    "a\\..\\b.png",
    "a\nb.png",
    "a//b",
    ".",
)


def request(
    backend: RunningBackend, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes]:
    """Status and body of a request whose target goes out byte for byte, with the service key."""
    named = {**backend.service_headers(), "Host": "x", "Connection": "close", **(headers or {})}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    with socket.create_connection(("127.0.0.1", int(backend.url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), content


@pytest.fixture
def picture(http: httpx.Client) -> str:
    """The signed address of a stored picture, below `/storage/v1`."""
    http.post(f"{OBJECTS}/{PICTURE}", content=b"picture", headers=PNG).raise_for_status()
    return str(http.post(f"{OBJECTS}/sign/{PICTURE}", json={"expiresIn": 60}).json()["signedURL"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class TestTokens:
    @pytest.mark.parametrize(
        "kind",
        [
            "another secret",
            "no algorithm",
            "another algorithm",
            "expired",
            "not yet valid",
            "no role",
            "unknown role",
            "a list of roles",
            "a user without an id",
            "cut short",
            "of a signed address",
        ],
    )
    def test_only_a_whole_token_of_ours_opens_a_service(self, backend: RunningBackend, picture: str, kind: str) -> None:
        keys, service = backend.backend.keys, {"role": "service_role"}
        token = {
            "another secret": jwt.encode(service, "another secret, long enough for HS256"),
            "no algorithm": jwt.encode(service, "", algorithm="none"),
            "another algorithm": jwt.encode(service, keys.jwt_secret, algorithm="HS512"),
            "expired": keys.sign(service, -1),
            "not yet valid": keys.sign({**service, "nbf": int(time.time()) + 600}, 3600),
            "no role": keys.sign({}, 60),
            "unknown role": keys.sign({"role": "postgres"}, 60),
            "a list of roles": keys.sign({"role": ["service_role"]}, 60),
            "a user without an id": keys.sign({"role": "authenticated"}, 60),
            "cut short": keys.service_key[:-1],
            "of a signed address": picture.partition("token=")[2],
        }[kind]
        for path in SERVED:
            assert httpx.get(backend.url + path, headers=bearer(token)).status_code in (400, 401, 403), path
        call = httpx.post(f"{backend.url}/functions/v1/job-callback", headers=bearer(token), json={})
        assert call.status_code == 401

    def test_the_anonymous_key_reads_and_writes_nothing(self, backend: RunningBackend, picture: str) -> None:
        headers = bearer(backend.backend.keys.anon_key)
        with httpx.Client(base_url=backend.url, headers=headers) as anonymous:
            refused = [
                anonymous.get(f"{OBJECTS}/{PICTURE}"),
                anonymous.get(f"{OBJECTS}/info/{PICTURE}"),
                anonymous.post(f"{OBJECTS}/sign/{PICTURE}", json={"expiresIn": 60}),
                anonymous.post(f"{OBJECTS}/image_fast/b.png", content=b"x", headers=PNG),
                anonymous.put(f"{OBJECTS}/{PICTURE}", content=b"x", headers=PNG),
                anonymous.delete(f"{OBJECTS}/{PICTURE}"),
                anonymous.get("/storage/v1/bucket"),
                anonymous.post("/storage/v1/bucket", json={"id": "mine"}),
            ]
        assert {answer.status_code for answer in refused} == {400}
        assert httpx.get(f"{backend.url}/storage/v1{picture}").content == b"picture"

    @pytest.mark.parametrize("path", SERVED)
    def test_no_token_opens_nothing(self, backend: RunningBackend, picture: str, path: str) -> None:
        assert httpx.get(backend.url + path).status_code in (400, 401, 403)


class TestPaths:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
    @pytest.mark.parametrize("key", CLIMBING)
    def test_no_key_climbs(self, backend: RunningBackend, shared_data: Path, method: str, key: str) -> None:
        before = everything_in(shared_data)
        status, content = request(backend, method, f"{OBJECTS}/image_fast/{key}", PNG, b"x")
        assert status in (400, 404)
        assert backend.backend.keys.service_key.encode() not in content
        assert everything_in(shared_data) == before

    @pytest.mark.parametrize("key", CLIMBING_TEXTS)
    def test_no_name_of_a_resumable_upload_climbs(self, backend: RunningBackend, shared_data: Path, key: str) -> None:
        before = everything_in(shared_data)
        for bucket, name in (("image_fast", key), (key, "a.png")):
            status, _ = request(backend, "POST", RESUMABLE, tus(bucket, name))
            assert status in (400, 404)
        assert everything_in(shared_data) == before

    @pytest.mark.parametrize("name", [*CLIMBING_TEXTS, "a/b", ""])
    def test_no_bucket_is_named_like_a_path(self, http: httpx.Client, name: str) -> None:
        """`a/b` with the key `c` would be signed like `a` with the key `b/c`."""
        assert http.post("/storage/v1/bucket", json={"id": name}).json()["error"] == "InvalidKey"

    @pytest.mark.parametrize(
        "target",
        [
            "/static/../page.py",
            "/static/%2e%2e/page.py",
            "/static/..%2f..%2f..%2fetc/passwd",
            "/static//etc/passwd",
            "/static/%2fetc/passwd",
            "/static/studio.js%00.html",
            "/local/..%2fkeys.json",
            "/%00",
        ],
    )
    def test_the_page_serves_its_own_files_only(self, backend: RunningBackend, target: str) -> None:
        assert request(backend, "GET", target)[0] == 404


class TestSignedAddresses:
    def test_it_opens_its_object_alone(self, backend: RunningBackend, http: httpx.Client, picture: str) -> None:
        http.post(f"{OBJECTS}/image_fast/user/b.png", content=b"other", headers=PNG)
        http.post(f"{OBJECTS}/image_high/user/a.png", content=b"other", headers=PNG)
        token = picture.partition("token=")[2]
        assert httpx.get(f"{backend.url}/storage/v1{picture}").content == b"picture"
        for other in ("image_fast/user/b.png", "image_high/user/a.png", "image_fast/user/../user/a.png"):
            status, content = request(backend, "GET", f"{OBJECTS}/sign/{other}?token={token}")
            assert (status, json.loads(content)["statusCode"]) == (400, "403")

    def test_a_changed_token_opens_nothing(self, backend: RunningBackend, picture: str) -> None:
        """Not one of its characters may change, but for the bits that base64 leaves unused at an end."""
        address, _, token = picture.partition("?token=")
        head, claims, signature = token.split(".")
        longer = jwt.decode(token, options={"verify_signature": False}) | {"exp": 2**40}
        forged = base64.urlsafe_b64encode(json.dumps(longer).encode()).decode().rstrip("=")
        unsigned = jwt.encode(longer, "", algorithm="none")
        for changed in (
            f"{head}.{forged}.{signature}",
            f"{head}.{claims}.{signature[::-1]}",
            f"{head}.{claims}.",
            unsigned,
            f"{token}x",
            "",
        ):
            answer = httpx.get(f"{backend.url}/storage/v1{address}", params={"token": changed})
            assert (answer.status_code, answer.json()["statusCode"]) == (400, "403")

    def test_it_cannot_write_or_delete(self, backend: RunningBackend, picture: str) -> None:
        token = picture.partition("token=")[2]
        for method in ("POST", "PUT", "DELETE"):
            for path in (f"{OBJECTS}/{PICTURE}?token={token}", f"{OBJECTS}/sign/{PICTURE}?token={token}"):
                answer = httpx.request(method, backend.url + path, content=b"x", headers=PNG)
                assert answer.status_code in (400, 405)
        assert httpx.get(f"{backend.url}/storage/v1{picture}").content == b"picture"

    def test_a_users_session_is_no_signature(self, backend: RunningBackend, picture: str) -> None:
        address = picture.partition("?")[0]
        for token in (backend.backend.keys.service_key, backend.backend.keys.anon_key):
            answer = httpx.get(f"{backend.url}/storage/v1{address}", params={"token": token})
            assert answer.json()["statusCode"] == "403"

    @pytest.mark.parametrize("seconds", ["9" * 5000, 10**30, "9" * 19])
    def test_seconds_beyond_all_clocks_are_refused(self, http: httpx.Client, picture: str, seconds: object) -> None:
        answer = http.post(f"{OBJECTS}/sign/{PICTURE}", json={"expiresIn": seconds})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


class TestUploads:
    def test_every_request_of_an_upload_needs_the_token(self, backend: RunningBackend, http: httpx.Client) -> None:
        location = http.post(RESUMABLE, headers=tus("image_fast", "user/a.png")).headers["location"]
        chunk = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        user = backend.backend.keys.sign({"role": "authenticated", "sub": DEMO_USER_ID}, 60)
        for headers, expected in (({}, 403), (bearer("nonsense"), 403), (bearer(user), 404)):
            assert httpx.patch(location, content=b"abc", headers={**chunk, **headers}).status_code == expected
            assert httpx.head(location, headers=headers).status_code == expected
            assert httpx.delete(location, headers=headers).status_code == expected
        assert http.patch(location, content=b"abc", headers=chunk).status_code == 204

    def test_a_user_uploads_into_the_users_folder_only(self, backend: RunningBackend) -> None:
        headers = bearer(backend.backend.keys.sign({"role": "authenticated", "sub": DEMO_USER_ID}, 60))
        for key, expected in (("someone/a.png", 403), (f"{DEMO_USER_ID}x/a.png", 403), (f"{DEMO_USER_ID}/a.png", 201)):
            assert (
                httpx.post(backend.url + RESUMABLE, headers={**tus("image_fast", key), **headers}).status_code
                == expected
            )

    @pytest.mark.parametrize("length", ["9" * 5000, "9" * 30, "-1", "1e3", " ", "\u0663"])
    def test_a_length_that_is_no_number_is_refused(self, backend: RunningBackend, length: str) -> None:
        assert request(backend, "POST", RESUMABLE, tus("image_fast", "a.png", length))[0] == 400

    @pytest.mark.parametrize(
        "wish", [{"file_size_limit": "9" * 5000}, {"file_size_limit": 10**30}, {"allowed_mime_types": [5]}]
    )
    def test_a_bucket_with_impossible_limits_is_refused(self, http: httpx.Client, wish: dict[str, object]) -> None:
        assert http.post("/storage/v1/bucket", json={"id": "mine", **wish}).json()["error"] == "invalid_request"


class TestPage:
    def test_nothing_of_a_job_becomes_markup(self) -> None:
        """Every text of a job goes through `textContent` and properties; none is parsed as HTML."""
        script = "\n".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js"))
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
            assert way not in script
        assert "textContent" in script

    def test_only_its_own_script_runs(self, backend: RunningBackend) -> None:
        page = httpx.get(backend.url)
        policy = page.headers["content-security-policy"]
        assert "default-src 'self';" in policy
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert "<script>" not in page.text
        assert page.headers["x-content-type-options"] == "nosniff"
        jobs = httpx.get(f"{backend.url}/local/jobs", headers=backend.service_headers())
        assert jobs.headers["content-type"] == "application/json"
        assert jobs.headers["x-content-type-options"] == "nosniff"

    def test_a_stored_file_runs_no_script_beside_the_page(self, http: httpx.Client, picture: str) -> None:
        answer = http.get(f"/storage/v1{picture}")
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_other_sites_may_not_read_it(self, backend: RunningBackend) -> None:
        for path in ("/", "/local/jobs"):
            answer = httpx.get(backend.url + path, headers={"Origin": "https://example.com"})
            assert "access-control-allow-origin" not in answer.headers

    def test_it_says_that_it_is_for_development(self, backend: RunningBackend) -> None:
        assert "This is a development backend." in httpx.get(backend.url).text


def test_the_command_says_that_it_is_for_development(tmp_path: Path) -> None:
    with RunningCommand(
        ["-m", "ourvidz_worker", "local", "--port", "0", "--data", str(tmp_path / "data")],
        {"OURVIDZ_MODELS_DIR": str(tmp_path / "models")},
    ) as local:
        wait_until(lambda: any(line.startswith("# results:") for line in local.lines), "the address", seconds=60)
        assert "for development only" in local.lines[0]
        assert local.lines[1].startswith("# models: demo, the small ones that ship with this package")
        assert "export OURVIDZ_MODELS=demo" in local.lines
        assert local.stop() == 0
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def everything_in(folder: Path) -> set[Path]:
    """The files but for the database's own."""
    return {path for path in folder.parent.rglob("*") if path.is_file() and "sqlite" not in path.name}


def tus(bucket: str, key: str, length: str = "3") -> dict[str, str]:
    named = {"bucketName": bucket, "objectName": key, "contentType": "image/png"}
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in named.items())
    return {"Tus-Resumable": "1.0.0", "Upload-Length": length, "Upload-Metadata": metadata}

"""Contract section 4: Storage, with `supabase`, curl and plain HTTP."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from storage3.exceptions import StorageApiError
from supabase import Client

from ourvidz_worker.local.auth import DEMO_USER_ID
from tests.support.embedded import RunningBackend

PNG = {"Content-Type": "image/png"}
MIB = 1024 * 1024
OBJECTS = "/storage/v1/object"


def refusal(response: httpx.Response) -> tuple[int, str, str]:
    body = response.json()
    assert set(body) == {"statusCode", "error", "message"}
    return response.status_code, body["statusCode"], body["error"]


class TestSupabaseClient:
    def test_upload_list_sign_download_remove(self, supabase: Client) -> None:
        bucket = supabase.storage.from_("image_fast")
        uploaded = bucket.upload("user/job_0.png", b"picture", {"content-type": "image/png", "upsert": "true"})
        assert uploaded.full_path == "image_fast/user/job_0.png"
        assert bucket.download("user/job_0.png") == b"picture"
        (entry,) = bucket.list("user")
        assert (entry["name"], entry["metadata"]["size"], entry["metadata"]["mimetype"]) == (
            "job_0.png",
            7,
            "image/png",
        )
        assert [(folder["name"], folder["id"]) for folder in bucket.list()] == [("user", None)]
        assert httpx.get(str(bucket.create_signed_url("user/job_0.png", 60)["signedURL"])).content == b"picture"
        assert bucket.exists("user/job_0.png")
        assert [row["name"] for row in bucket.remove(["user/job_0.png", "user/missing.png"])] == ["user/job_0.png"]
        assert not bucket.exists("user/job_0.png")

    def test_many_signed_at_once(self, supabase: Client) -> None:
        bucket = supabase.storage.from_("image_fast")
        bucket.upload("a.png", b"a", {"content-type": "image/png"})
        found, missing = bucket.create_signed_urls(["a.png", "b.png"], 60)
        assert httpx.get(str(found["signedURL"])).content == b"a"
        assert missing["error"]
        assert missing["signedURL"] is None

    def test_update_replaces(self, supabase: Client) -> None:
        bucket = supabase.storage.from_("image_fast")
        bucket.upload("a.png", b"first", {"content-type": "image/png"})
        bucket.update("a.png", b"second", {"content-type": "image/png"})
        assert bucket.download("a.png") == b"second"

    def test_list_sorts_searches_and_pages(self, supabase: Client) -> None:
        bucket = supabase.storage.from_("image_fast")
        for name in ("b.png", "a.png", "c.png", "deep/er.png"):
            bucket.upload(f"user/{name}", b"x", {"content-type": "image/png"})
        descending = bucket.list("user", {"sortBy": {"column": "name", "order": "desc"}, "limit": 2, "offset": 1})
        assert [entry["name"] for entry in descending] == ["c.png", "b.png"]
        assert [entry["name"] for entry in bucket.list("user", {"search": "a"})] == ["a.png"]

    def test_buckets_have_the_limits_of_the_catalogue(self, supabase: Client) -> None:
        bucket = supabase.storage.get_bucket("video_high")
        assert (bucket.file_size_limit, bucket.allowed_mime_types) == (200 * MIB, ["video/mp4", "image/webp"])
        assert supabase.storage.get_bucket("videos").public
        assert len(supabase.storage.list_buckets()) == 14
        supabase.storage.create_bucket("mine", options={"public": True, "file_size_limit": 10})
        assert supabase.storage.get_bucket("mine").file_size_limit == 10

    def test_errors_have_the_status_as_a_string(self, supabase: Client) -> None:
        with pytest.raises(StorageApiError) as caught:
            supabase.storage.from_("nowhere").upload("a.png", b"x", {"content-type": "image/png"})
        assert (str(caught.value.status), caught.value.code) == ("404", "Bucket not found")


class TestUpload:
    def test_the_answer_names_key_and_id(self, http: httpx.Client) -> None:
        answer = http.post(f"{OBJECTS}/image_fast/user/job_0.png", content=b"x", headers=PNG)
        assert answer.status_code == 200
        assert answer.json()["Key"] == "image_fast/user/job_0.png"
        assert answer.json()["Id"]

    def test_exists_without_upsert(self, http: httpx.Client) -> None:
        """Section 4: exists, no upsert | 400 | 409 / Duplicate. With `x-upsert: true` it is overwritten."""
        path = f"{OBJECTS}/image_fast/user/job_0.png"
        http.post(path, content=b"first", headers=PNG)
        assert refusal(http.post(path, content=b"second", headers=PNG)) == (400, "409", "Duplicate")
        assert http.get(path).content == b"first"
        assert http.post(path, content=b"second", headers={**PNG, "x-upsert": "true"}).status_code == 200
        assert http.get(path).content == b"second"
        assert http.put(path, content=b"third", headers=PNG).status_code == 200
        assert http.get(path).content == b"third"

    @pytest.mark.parametrize("framing", ["content-length", "chunked"])
    def test_over_the_buckets_limit(self, http: httpx.Client, framing: str) -> None:
        """Section 4: over the bucket's limit | 400 | 413 / Payload too large. Exactly the limit is allowed."""
        path, limit = f"{OBJECTS}/image_fast/big.png", 5 * MIB
        over: Any = iter([bytes(limit), b"x"]) if framing == "chunked" else bytes(limit + 1)
        assert refusal(http.post(path, content=over, headers=PNG)) == (400, "413", "Payload too large")
        assert refusal(http.get(path)) == (400, "404", "not_found")
        assert http.post(path, content=bytes(limit), headers=PNG).status_code == 200

    @pytest.mark.parametrize("media_type", ["image/jpeg", "image/png; charset=utf-8", "image/png;charset=UTF-8", ""])
    def test_type_not_allowed(self, http: httpx.Client, media_type: str) -> None:
        """Section 4: exactly `image/png`, a charset suffix is rejected | 400 | 415 / invalid_mime_type."""
        answer = http.post(f"{OBJECTS}/image_fast/a.png", content=b"x", headers={"Content-Type": media_type})
        assert refusal(answer) == (400, "415", "invalid_mime_type")

    def test_bucket_missing(self, http: httpx.Client) -> None:
        """Section 4: bucket missing | 400 | 404 / Bucket not found."""
        missing = (400, "404", "Bucket not found")
        assert refusal(http.post(f"{OBJECTS}/nowhere/a.png", content=b"x", headers=PNG)) == missing
        assert refusal(http.get(f"{OBJECTS}/nowhere/a.png")) == missing
        assert refusal(http.post(f"{OBJECTS}/list/nowhere", json={"prefix": ""})) == missing

    @pytest.mark.parametrize("key", ["user/%C3%A4.png", "a%23b.png", "a%5Cb.png", "user/%2E%2E/b.png", "a//b.png", ""])
    def test_bad_key(self, http: httpx.Client, key: str) -> None:
        """Section 4: bad key, bad characters | 400 | 400 / InvalidKey."""
        answer = http.post(f"{OBJECTS}/image_fast/{key}", content=b"x", headers=PNG)
        assert refusal(answer) == (400, "400", "InvalidKey")

    @pytest.mark.parametrize("token", ["", "nonsense", "expired", "of another secret"])
    def test_bad_or_expired_token(self, backend: RunningBackend, token: str) -> None:
        """Section 4: bad or expired token | 400 | 403 / Unauthorized."""
        tokens = {
            "expired": backend.backend.keys.sign({"role": "service_role"}, -1),
            "of another secret": jwt.encode({"role": "service_role"}, "another secret, long enough for HS256"),
        }
        headers = {**PNG, "Authorization": f"Bearer {tokens.get(token, token)}".strip()}
        answer = httpx.post(f"{backend.url}{OBJECTS}/image_fast/a.png", content=b"x", headers=headers)
        assert refusal(answer) == (400, "403", "Unauthorized")

    def test_an_empty_body_is_accepted(self, http: httpx.Client) -> None:
        """Section 4: an empty body is accepted (200): check before sending."""
        assert http.post(f"{OBJECTS}/image_fast/a.png", content=b"", headers=PNG).status_code == 200
        assert http.get(f"{OBJECTS}/image_fast/a.png").content == b""

    def test_a_form_without_a_file_is_refused(self, http: httpx.Client) -> None:
        answer = http.post(f"{OBJECTS}/image_fast/a.png", files={"cacheControl": (None, "3600")})
        assert refusal(answer)[0] == 400

    def test_a_broken_form_is_refused(self, http: httpx.Client) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = http.post(f"{OBJECTS}/image_fast/a.png", content=b"no boundary in here", headers=headers)
        assert refusal(answer)[0] == 400

    def test_a_refused_upload_leaves_nothing_behind(self, http: httpx.Client, shared_data: Path) -> None:
        http.post(f"{OBJECTS}/image_fast/a.png", content=iter([bytes(5 * MIB), b"x"]), headers=PNG)
        assert not list((shared_data / "storage").rglob("*-*"))


class TestDownload:
    def test_signed_address_is_relative_to_the_service(self, http: httpx.Client) -> None:
        """Section 4: `{"signedURL":"/object/sign/…?token=…"}`, relative to `/storage/v1`."""
        http.post(f"{OBJECTS}/image_fast/user/a (1).png", content=b"x", headers=PNG)
        signed = http.post(f"{OBJECTS}/sign/image_fast/user/a (1).png", json={"expiresIn": 60}).json()["signedURL"]
        assert signed.startswith("/object/sign/image_fast/user/a%20%281%29.png?token=")
        anonymous = httpx.get(f"{http.base_url}/storage/v1{signed}")
        assert (anonymous.content, anonymous.headers["content-type"]) == (b"x", "image/png")

    def test_a_signed_address_expires(self, backend: RunningBackend, http: httpx.Client) -> None:
        http.post(f"{OBJECTS}/image_fast/a.png", content=b"x", headers=PNG)
        token = backend.backend.keys.sign({"url": "image_fast/a.png"}, -1)
        answer = httpx.get(f"{backend.url}{OBJECTS}/sign/image_fast/a.png?token={token}")
        assert refusal(answer) == (400, "403", "Unauthorized")

    def test_a_signature_is_for_one_object(self, backend: RunningBackend, http: httpx.Client) -> None:
        for name in ("a.png", "b.png"):
            http.post(f"{OBJECTS}/image_fast/{name}", content=b"x", headers=PNG)
        signed = http.post(f"{OBJECTS}/sign/image_fast/a.png", json={"expiresIn": 60}).json()["signedURL"]
        answer = httpx.get(f"{backend.url}/storage/v1{signed.replace('a.png', 'b.png')}")
        assert refusal(answer) == (400, "403", "Unauthorized")

    def test_only_what_exists_is_signed(self, http: httpx.Client) -> None:
        answer = http.post(f"{OBJECTS}/sign/image_fast/missing.png", json={"expiresIn": 60})
        assert refusal(answer) == (400, "404", "not_found")

    @pytest.mark.parametrize("seconds", [None, 0, -5, "soon", 1.5, True])
    def test_a_signature_needs_seconds(self, http: httpx.Client, seconds: object) -> None:
        http.post(f"{OBJECTS}/image_fast/a.png", content=b"x", headers=PNG)
        assert refusal(http.post(f"{OBJECTS}/sign/image_fast/a.png", json={"expiresIn": seconds}))[0] == 400

    def test_parts_of_a_video(self, http: httpx.Client) -> None:
        """Browsers seek with Range requests; without 206 they cannot."""
        content = bytes(range(256)) * 40
        http.post(f"{OBJECTS}/video_fast/a.mp4", content=content, headers={"Content-Type": "video/mp4"})
        signed = http.post(f"{OBJECTS}/sign/video_fast/a.mp4", json={"expiresIn": "60"}).json()["signedURL"]
        address = f"/storage/v1{signed}"
        part = http.get(address, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, content[100:200])
        assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
        assert http.get(address, headers={"Range": "bytes=-16"}).content == content[-16:]
        assert http.get(address, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
        whole = http.get(address)
        assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")

    def test_public_buckets_need_no_key(self, backend: RunningBackend, http: httpx.Client) -> None:
        http.post(f"{OBJECTS}/system_assets/logo.png", content=b"logo", headers=PNG)
        http.post(f"{OBJECTS}/image_fast/a.png", content=b"x", headers=PNG)
        assert httpx.get(f"{backend.url}{OBJECTS}/public/system_assets/logo.png").content == b"logo"
        assert refusal(httpx.get(f"{backend.url}{OBJECTS}/public/image_fast/a.png"))[0] == 400

    def test_info_and_authenticated_reading(self, http: httpx.Client) -> None:
        http.post(f"{OBJECTS}/image_fast/a.png", content=b"abc", headers=PNG)
        info = http.get(f"{OBJECTS}/info/image_fast/a.png").json()
        assert (info["size"], info["content_type"]) == (3, "image/png")
        assert http.get(f"{OBJECTS}/authenticated/image_fast/a.png").content == b"abc"
        assert http.delete(f"{OBJECTS}/image_fast/a.png").json() == {"message": "Successfully deleted"}
        assert refusal(http.delete(f"{OBJECTS}/image_fast/a.png")) == (400, "404", "not_found")

    def test_a_download_can_be_named(self, http: httpx.Client) -> None:
        http.post(f"{OBJECTS}/image_fast/user/a.png", content=b"abc", headers=PNG)
        answer = http.get(f"{OBJECTS}/image_fast/user/a.png?download=")
        assert answer.headers["content-disposition"] == 'attachment; filename="a.png"'


class TestUsers:
    def test_a_user_lives_in_the_users_folder(self, user: Client, supabase: Client) -> None:
        supabase.storage.from_("image_fast").upload("someone/a.png", b"x", {"content-type": "image/png"})
        mine = user.storage.from_("reference_images")
        mine.upload(f"{DEMO_USER_ID}/ref.png", b"ref", {"content-type": "image/png"})
        assert mine.download(f"{DEMO_USER_ID}/ref.png") == b"ref"
        with pytest.raises(StorageApiError, match="row-level security"):
            mine.upload("someone/ref.png", b"x", {"content-type": "image/png"})
        with pytest.raises(StorageApiError, match="not found"):
            user.storage.from_("image_fast").download("someone/a.png")
        assert user.storage.from_("image_fast").remove(["someone/a.png"]) == []
        with pytest.raises(StorageApiError, match="row-level security"):
            user.storage.list_buckets()


@pytest.mark.parametrize("body", [b"not json", b"[]", b"\xff"])
def test_bad_bodies_are_refused(http: httpx.Client, body: bytes) -> None:
    for path in ("list/image_fast", "sign/image_fast", "sign/image_fast/a.png"):
        assert refusal(http.post(f"{OBJECTS}/{path}", content=body))[0] == 400


@pytest.mark.parametrize("wish", [{"limit": "many"}, {"offset": -1}, {"sortBy": {"column": "secret"}}])
def test_bad_wishes_are_refused(http: httpx.Client, wish: dict[str, Any]) -> None:
    assert refusal(http.post(f"{OBJECTS}/list/image_fast", json=wish))[0] == 400


def test_curl_is_content(backend: RunningBackend, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"picture")
    address = f"{backend.url}{OBJECTS}/image_fast/user/a.png"
    curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "10"]
    for name, value in {**backend.service_headers(), **PNG, "x-upsert": "true"}.items():
        curl += ["-H", f"{name}: {value}"]
    subprocess.run([*curl, address, "--data-binary", f"@{picture}"], check=True, capture_output=True)
    loaded = subprocess.run([*curl, address], check=True, capture_output=True)
    assert loaded.stdout == b"picture"


def test_a_place_for_references(backend: RunningBackend) -> None:
    placing = backend.backend.place_reference("reference_images", "user/ref.png", b"picture", "image/png")
    assert httpx.get(backend.run(placing)).content == b"picture"


def test_objects_outlive_the_process_and_old_versions_do_not(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        with RunningBackend(tmp_path) as running:
            address = f"{running.url}{OBJECTS}/image_fast/a.png"
            headers = {**running.service_headers(), **PNG, "x-upsert": "true"}
            httpx.post(address, content=content, headers=headers)
    with RunningBackend(tmp_path) as running:
        answer = httpx.get(f"{running.url}{OBJECTS}/image_fast/a.png", headers=running.service_headers())
        assert answer.content == b"second"
        assert len(list((tmp_path / "storage" / "objects").iterdir())) == 1


def test_a_reader_finishes_while_the_object_is_replaced(http: httpx.Client) -> None:
    path, old, new = f"{OBJECTS}/video_high/a.mp4", b"a" * (20 * MIB), b"b" * MIB
    headers = {"Content-Type": "video/mp4", "x-upsert": "true"}
    http.post(path, content=old, headers=headers)
    with http.stream("GET", path) as reading:
        pieces = reading.iter_bytes()
        first = next(pieces)
        assert httpx.post(f"{http.base_url}{path}", content=new, headers=dict(http.headers) | headers).is_success
        assert first + b"".join(pieces) == old
    assert http.get(path).content == new

"""Results in a folder or in an S3 bucket: what failures mean, and what is never left or let out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from ourvidz_worker.backend.objects.folder import FolderObjects
from ourvidz_worker.backend.objects.places import S3Bucket
from ourvidz_worker.backend.objects.s3 import PART_BYTES, S3Access, S3Objects, _endpoint
from ourvidz_worker.backend.objects.store import ObjectStore
from ourvidz_worker.backend.references.stored import StoredFileUnusable
from ourvidz_worker.contract.catalogue import MIB, Bucket
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkerError
from ourvidz_worker.ports import Asset
from tests.backend.pauses import Pauses
from tests.support.s3_server import BUCKET, S3Server
from tests.support.scripted_rest import HANG_UP, NEVER, Scripted, ScriptedRest

KEY_ID, SECRET_KEY, TOKEN = "AKIAPLANTED", "very/secret+key", "very-secret-session"
BUCKETS = {"video_fast": Bucket("video_fast", 50 * MIB, ("video/mp4", "image/webp"))}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def s3(url: str, *, bucket: str = BUCKET, virtual_host: bool = False, seconds: float = 20) -> S3Objects:
    access = S3Access("us-east-1", url, KEY_ID, SECRET_KEY, TOKEN)
    return S3Objects(S3Bucket(bucket, "pod", virtual_host=virtual_host), access, timeout_seconds=seconds)


def asset(folder: Path, content: bytes = b"a clip", media_type: str = "video/mp4") -> Asset:
    path = folder / "made"
    path.write_bytes(content)
    return Asset(path, media_type, len(content), 64, 64, 1, 7)


def done(action: Callable[[], Awaitable[Any]]) -> Any:
    async def act() -> Any:
        return await action()

    return asyncio.run(act())


def refusal(status: int, code: str, message: str = "no") -> httpx.Response:
    return httpx.Response(status, text=f"<?xml?><Error><Code>{code}</Code><Message>{message}</Message></Error>")


class TestS3:
    @pytest.mark.parametrize(
        ("answer", "error", "says"),
        [
            (refusal(403, "InvalidAccessKeyId", f"{KEY_ID} is unknown"), ConfigurationError, "AWS_ACCESS_KEY_ID"),
            (refusal(403, "SignatureDoesNotMatch"), ConfigurationError, "AWS_SECRET_ACCESS_KEY"),
            (refusal(403, "AccessDenied"), ConfigurationError, "what they allow in this bucket"),
            (refusal(401, "Unauthorized"), ConfigurationError, "AWS_ACCESS_KEY_ID"),
            (refusal(404, "NoSuchBucket"), ConfigurationError, "does not exist"),
            (httpx.Response(301), ConfigurationError, "AWS_REGION"),
            (refusal(400, "AuthorizationHeaderMalformed"), ConfigurationError, "AWS_REGION"),
            (refusal(400, "EntityTooLarge"), BackendRefused, "EntityTooLarge"),
            (refusal(400, "RequestTimeout"), BackendUnavailable, "RequestTimeout"),
            (refusal(429, "TooManyRequests"), BackendUnavailable, "429"),
            (refusal(503, "SlowDown"), BackendUnavailable, "SlowDown"),
            (httpx.Response(500, text=f"{SECRET_KEY} {TOKEN}"), BackendUnavailable, "500"),
            (HANG_UP, BackendUnavailable, "error sending request"),
        ],
    )
    def test_each_answer_says_what_to_do_next(
        self, tmp_path: Path, answer: Scripted, error: type[WorkerError], says: str
    ) -> None:
        with ScriptedRest() as far:
            far.answer(answer)
            with pytest.raises(error, match=says) as raised:
                done(lambda: s3(far.url).put("video_fast/u/j.mp4", asset(tmp_path)))
        assert not any(secret in f"{raised.value!r}" for secret in (KEY_ID, SECRET_KEY, TOKEN))

    def test_an_answer_that_never_comes_is_waited_for_no_longer_than_allowed(self, tmp_path: Path) -> None:
        with ScriptedRest() as far:
            far.answer(NEVER)
            with pytest.raises(BackendUnavailable):
                done(lambda: s3(far.url, seconds=0.1).put("video_fast/u/j.mp4", asset(tmp_path)))

    def test_a_request_names_the_bucket_in_its_path_and_is_signed(self, tmp_path: Path) -> None:
        with ScriptedRest() as far:
            far.answer(httpx.Response(200, headers={"ETag": '"e"'}))
            done(lambda: s3(far.url).put("video_fast/u/j.mp4", asset(tmp_path)))
            assert far.paths == [f"/{BUCKET}/pod/video_fast/u/j.mp4"]
            headers = far.headers[-1]
            assert (headers["content-type"], headers["x-amz-security-token"]) == ("video/mp4", TOKEN)
            assert KEY_ID in headers["authorization"]
            assert SECRET_KEY not in f"{headers}"

    @pytest.mark.parametrize("endpoint", ["https://store.example:9000", f"https://{BUCKET}.store.example:9000"])
    def test_with_virtual_addressing_the_bucket_stands_before_the_host(self, endpoint: str) -> None:
        virtual = S3Bucket(BUCKET, virtual_host=True)
        assert _endpoint(virtual, endpoint) == f"https://{BUCKET}.store.example:9000"

    def test_a_large_file_goes_in_parts(self, tmp_path: Path, server: S3Server) -> None:
        content = os.urandom(2 * PART_BYTES + 1)
        done(lambda: s3(server.url).put("video_fast/u/large.mp4", asset(tmp_path, content)))
        assert server.read("pod/video_fast/u/large.mp4") == (content, "video/mp4")

    def test_a_bucket_that_is_missing_stops_the_worker_and_not_the_job(self, tmp_path: Path, server: S3Server) -> None:
        for content in (b"small", bytes(PART_BYTES + 1)):
            clip = asset(tmp_path, content)
            with pytest.raises(ConfigurationError, match="S3 bucket elsewhere does not exist"):
                done(partial(s3(server.url, bucket="elsewhere").put, "video_fast/u/j.mp4", clip))

    def test_a_check_leaves_nothing_behind(self, server: S3Server) -> None:
        before = server.keys()
        done(s3(server.url).check)
        assert server.keys() == before
        with pytest.raises(ConfigurationError, match="does not exist"):
            done(s3(server.url, bucket="elsewhere").check)

    def test_a_file_is_read_up_to_its_limit(self, server: S3Server) -> None:
        name = "reference_images/user/fünf & 6.png"
        server.write(f"pod/{name}", b"12345")
        assert done(lambda: s3(server.url).read(name, max_bytes=5)) == b"12345"
        with pytest.raises(StoredFileUnusable, match="larger"):
            done(lambda: s3(server.url).read(name, max_bytes=4))
        with pytest.raises(StoredFileUnusable, match="no such file"):
            done(lambda: s3(server.url).read("reference_images/user/none.png", max_bytes=4))
        with pytest.raises(ConfigurationError, match="does not exist"):
            done(lambda: s3(server.url, bucket="elsewhere").read(name, max_bytes=4))


class TestFolder:
    def test_a_folder_that_is_missing_is_not_made(self, tmp_path: Path) -> None:
        """Files beside the volume that was not mounted would be gone with the machine."""
        objects = FolderObjects(tmp_path / "volume")
        for action in (objects.check, lambda: objects.put("video_fast/u/j.mp4", asset(tmp_path))):
            with pytest.raises(ConfigurationError, match="does not exist: create it, or mount"):
                done(action)
        assert not (tmp_path / "volume").exists()

    def test_a_folder_that_takes_no_files_is_a_matter_of_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "video_fast").write_text("a file where a folder should be")
        with pytest.raises(ConfigurationError, match="OURVIDZ_STORE_URL"):
            done(lambda: FolderObjects(tmp_path).put("video_fast/u/j.mp4", asset(tmp_path)))

    def test_a_disk_that_is_full_is_tried_again_and_leaves_no_part(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses, calls = Pauses(), []

        def full(source: Path, target: Path) -> None:
            calls.append(target)
            target.write_bytes(b"half")
            if len(calls) < 3:
                raise OSError(28, "No space left on device")
            target.write_bytes(source.read_bytes())

        monkeypatch.setattr("ourvidz_worker.backend.objects.folder.shutil.copyfile", full)
        root = tmp_path / "results"
        root.mkdir()
        store = ObjectStore(FolderObjects(root), buckets=BUCKETS, sleep=pauses)
        done(lambda: store.put("video_fast", "u/j.mp4", asset(tmp_path)))
        assert [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()] == [
            "video_fast/u/j.mp4"
        ]
        assert len(calls) == 3

    @pytest.mark.parametrize("name", ["../out", "video_fast/../../out", "/etc/out", "link/out", "a\0b"])
    def test_nothing_is_written_or_read_outside(self, tmp_path: Path, name: str) -> None:
        root, outside = tmp_path / "results", tmp_path / "outside"
        root.mkdir()
        outside.mkdir()
        (outside / "out").write_text("secret")
        (root / "link").symlink_to(outside)
        with pytest.raises(BackendRefused, match="leads out"):
            done(lambda: FolderObjects(root).put(name, asset(tmp_path)))
        with pytest.raises(StoredFileUnusable):
            done(lambda: FolderObjects(root).read(name, max_bytes=100))
        assert (outside / "out").read_text() == "secret"

    def test_only_files_are_read(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").write_bytes(b"12345")
        for name in ("pipe", "folder", "none"):
            with pytest.raises(StoredFileUnusable, match="no such file"):
                done(partial(FolderObjects(tmp_path).read, name, max_bytes=5))
        assert done(lambda: FolderObjects(tmp_path).read("file", max_bytes=5)) == b"12345"
        with pytest.raises(StoredFileUnusable, match="larger"):
            done(lambda: FolderObjects(tmp_path).read("file", max_bytes=4))


@pytest.mark.parametrize("key", ["../j.mp4", "/etc/j.mp4", "u//j.mp4", "u/.hidden", "u/j\n.mp4", "u/\u00fc.mp4", ""])
def test_a_key_that_is_no_plain_path_is_refused(tmp_path: Path, key: str) -> None:
    store = ObjectStore(FolderObjects(tmp_path), buckets=BUCKETS)
    with pytest.raises(BackendRefused, match="no path below a bucket"):
        done(lambda: store.put("video_fast", key, asset(tmp_path)))

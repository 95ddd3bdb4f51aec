"""What every `AssetStore` promises, whatever it lives in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ourvidz_worker.backend.objects.folder import FolderObjects
from ourvidz_worker.backend.objects.places import S3Bucket
from ourvidz_worker.backend.objects.s3 import S3Access, S3Objects
from ourvidz_worker.backend.objects.store import ObjectStore
from ourvidz_worker.backend.supabase.store import SupabaseStore
from ourvidz_worker.contract.catalogue import MIB, Catalogue
from ourvidz_worker.errors import BackendRefused, BackendUnavailable
from ourvidz_worker.ports import Asset, AssetStore, BucketLimit
from tests.support.embedded import RunningBackend
from tests.support.s3_server import BUCKET, S3Server

LARGE = random.Random(3).randbytes(13 * MIB + 5)


@dataclass(frozen=True)
class StoreWorld:
    """`open` gives a store, `unreachable` one whose far side is down; `read` is what lies under a key."""

    open: Callable[[], AssetStore]
    unreachable: Callable[[], AssetStore]
    read: Callable[[str, str], bytes]


def supabase_world(request: pytest.FixtureRequest, catalogue: Catalogue, _folder: Path) -> StoreWorld:
    backend: RunningBackend = request.getfixturevalue("backend")
    key = backend.environment()["SUPABASE_SERVICE_KEY"]

    def at(url: str) -> Callable[[], AssetStore]:
        return lambda: SupabaseStore(url=url, service_key=key, buckets=catalogue.buckets, retry_seconds=0.1)

    def read(bucket: str, key: str) -> bytes:
        return backend.backend.file(bucket, key).read_bytes()

    return StoreWorld(open=at(backend.url), unreachable=at("http://127.0.0.1:1"), read=read)


def s3_world(request: pytest.FixtureRequest, catalogue: Catalogue, _folder: Path) -> StoreWorld:
    server: S3Server = request.getfixturevalue("s3_server")

    def at(url: str) -> Callable[[], AssetStore]:
        def opened() -> AssetStore:
            access = S3Access("us-east-1", url, "AKIATEST", "secret")
            objects = S3Objects(S3Bucket(BUCKET, "pod/one"), access, timeout_seconds=20)
            return ObjectStore(objects, buckets=catalogue.buckets, retry_seconds=0.1)

        return opened

    def read(bucket: str, key: str) -> bytes:
        content, media_type = server.read(f"pod/one/{bucket}/{key}")
        assert media_type == ("video/mp4" if bucket == "video_fast" else "image/png")
        return content

    return StoreWorld(open=at(server.url), unreachable=at("http://127.0.0.1:1"), read=read)


def folder_world(_request: pytest.FixtureRequest, catalogue: Catalogue, folder: Path) -> StoreWorld:
    root, loop = folder / "results", folder / "loop"
    root.mkdir()
    loop.mkdir()

    def at(root: Path) -> Callable[[], AssetStore]:
        return lambda: ObjectStore(FolderObjects(root), buckets=catalogue.buckets, retry_seconds=0.1)

    def read(bucket: str, key: str) -> bytes:
        left_over = [path.name for path in (root / bucket).rglob(".*")]
        assert left_over == [], "a draft was left behind"
        return (root / bucket / key).read_bytes()

    # What a link leads to that leads to itself cannot be told, as on a network's disk that is gone.
    (loop / "video_fast").symlink_to(loop / "video_fast")
    return StoreWorld(open=at(root), unreachable=at(loop), read=read)


WORLDS = {"supabase": supabase_world, "s3": s3_world, "folder": folder_world}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, catalogue: Catalogue, tmp_path: Path) -> StoreWorld:
    return WORLDS[request.param](request, catalogue, tmp_path)


def put(store: AssetStore, bucket: str, key: str, *assets: Asset) -> None:
    async def run() -> None:
        try:
            for asset in assets:
                await store.put(bucket, key, asset)
        finally:
            await store.close()

    asyncio.run(run())


def limit(store: AssetStore, bucket: str) -> BucketLimit:
    async def run() -> BucketLimit:
        try:
            return await store.limit(bucket)
        finally:
            await store.close()

    return asyncio.run(run())


def asset(folder: Path, content: bytes, media_type: str = "image/png") -> Asset:
    path = folder / f"{len(content)}-{random.Random(content).random()}"
    path.write_bytes(content)
    return Asset(path, media_type, len(content), 64, 64, 1, 7)


@pytest.mark.parametrize(
    ("bucket", "key", "content", "media_type"),
    [
        ("sdxl_image_fast", "user/job_0.png", b"small", "image/png"),
        ("video_fast", "user/job.mp4", LARGE, "video/mp4"),
        ("video_fast", "user/edge.mp4", LARGE[: 6 * MIB], "video/mp4"),
    ],
)
def test_a_file_is_stored_byte_for_byte(
    world: StoreWorld, tmp_path: Path, bucket: str, key: str, content: bytes, media_type: str
) -> None:
    put(world.open(), bucket, key, asset(tmp_path, content, media_type))
    assert world.read(bucket, key) == content


@pytest.mark.parametrize("size", [10, 7 * MIB])
def test_a_second_upload_overwrites_the_first(world: StoreWorld, tmp_path: Path, size: int) -> None:
    """Keys depend on the job alone (contract section 4)."""
    first = asset(tmp_path, LARGE[:size], "video/mp4")
    second = asset(tmp_path, LARGE[size : size + size // 2], "video/mp4")
    put(world.open(), "video_fast", "user/job.mp4", first, second)
    assert world.read("video_fast", "user/job.mp4") == second.path.read_bytes()


def test_files_may_be_stored_at_the_same_time(world: StoreWorld, tmp_path: Path) -> None:
    files = [asset(tmp_path, bytes([number]) * 1000) for number in range(6)]

    async def run() -> None:
        store = world.open()
        await asyncio.gather(*(store.put("sdxl_image_fast", f"user/job_{i}.png", file) for i, file in enumerate(files)))
        await store.close()

    asyncio.run(run())
    for number, file in enumerate(files):
        assert world.read("sdxl_image_fast", f"user/job_{number}.png") == file.path.read_bytes()


@pytest.mark.parametrize(
    ("bucket", "content", "media_type"),
    [
        pytest.param("no_such_bucket", b"small", "image/png", id="bucket missing"),
        pytest.param("no_such_bucket", LARGE, "video/mp4", id="bucket missing, large file"),
        pytest.param("sdxl_image_fast", b"small", "video/mp4", id="type not allowed"),
        pytest.param("sdxl_image_fast", b"x" * (5 * MIB + 1), "image/png", id="over the bucket's limit"),
        pytest.param("sdxl_image_fast", b"", "image/png", id="empty"),
    ],
)
def test_what_the_store_will_never_take_is_refused(
    world: StoreWorld, tmp_path: Path, bucket: str, content: bytes, media_type: str
) -> None:
    with pytest.raises(BackendRefused):
        put(world.open(), bucket, "user/job", asset(tmp_path, content, media_type))


@pytest.mark.parametrize("size", [10, 7 * MIB])
def test_a_store_out_of_reach_is_no_fault_of_the_file(world: StoreWorld, tmp_path: Path, size: int) -> None:
    with pytest.raises(BackendUnavailable):
        put(world.unreachable(), "video_fast", "user/job.mp4", asset(tmp_path, LARGE[:size], "video/mp4"))


def test_a_bucket_takes_what_its_limit_says_and_no_more(world: StoreWorld, tmp_path: Path) -> None:
    told = limit(world.open(), "sdxl_image_fast")
    assert told.limit_bytes == 5 * MIB
    put(world.open(), "sdxl_image_fast", "user/edge.png", asset(tmp_path, b"x" * told.limit_bytes))
    with pytest.raises(BackendRefused):
        put(world.open(), "sdxl_image_fast", "user/over.png", asset(tmp_path, b"x" * (told.limit_bytes + 1)))
    assert told.allows("image/png")
    assert not told.allows("video/mp4")


@pytest.mark.parametrize("bucket", ["sdxl_image_fast", "video_high"])
def test_the_limit_of_a_store_out_of_reach_is_the_catalogues(
    world: StoreWorld, catalogue: Catalogue, bucket: str
) -> None:
    expected = catalogue.buckets[bucket]
    assert limit(world.unreachable(), bucket) == BucketLimit(expected.limit_bytes, expected.media_types)


def test_a_bucket_that_nobody_knows_has_no_limit(world: StoreWorld) -> None:
    for store in (world.open(), world.unreachable()):
        assert limit(store, "no_such_bucket") == BucketLimit()

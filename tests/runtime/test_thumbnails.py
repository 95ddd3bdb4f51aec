"""Thumbnails go beside the assets when they can, and cost no job anything when they cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, Fenced
from ourvidz_worker.ports import Asset, BucketLimit
from ourvidz_worker.runtime import courier
from ourvidz_worker.runtime.spool import Result, Spool
from tests.runtime.scene import Scene, payload, spooled
from tests.support.fakes import with_thumbnail
from tests.support.stories import story

BUCKET = "sdxl_image_fast"
KEYS = [f"user-1/job-1_{index}.png" for index in range(3)]
SMALL = [f"user-1/job-1_{index}.thumb.webp" for index in range(3)]
THREE = payload(config={"num_images": 3, "seed": 7})


def scene_with_thumbnails(folder: Path) -> Scene:
    scene = Scene(folder)
    scene.encoder.thumbnails = True
    return scene


def fail_on(scene: Scene, troubles: Mapping[str, BaseException]) -> None:
    """Let the store raise these for these keys."""
    put = scene.store.put

    async def put_or_fail(bucket: str, key: str, asset: Asset) -> None:
        if key in troubles:
            raise troubles[key]
        await put(bucket, key, asset)

    scene.store.put = put_or_fail  # type: ignore[method-assign]


def reported(scene: Scene) -> list[str | None]:
    return [asset.thumbnail_key for asset in scene.reporter.last().assets]


@story
async def test_they_follow_the_pictures_and_come_before_the_report(tmp_path: Path) -> None:
    scene = scene_with_thumbnails(tmp_path)
    scene.submit(THREE)
    await scene.run_until_idle()
    puts = [f"put {key}" for key in KEYS + SMALL]
    assert scene.done() == ["processing", *puts, "completed", "acknowledge"]
    assert reported(scene) == SMALL
    assert scene.store.files[BUCKET, SMALL[1]] == b"small 8"
    assert scene.spool.find("job-1") is None


@pytest.mark.parametrize(
    "trouble",
    [
        BackendRefused("bucket sdxl_image_fast takes image/png and not image/webp"),
        BackendUnavailable("storage did not answer"),
        ConfigurationError("storage refuses it: check SUPABASE_SERVICE_KEY"),
        FileNotFoundError(2, "No such file or directory"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
@story
async def test_one_that_cannot_be_stored_is_left_out_with_one_line(trouble: Exception, tmp_path: Path) -> None:
    scene = scene_with_thumbnails(tmp_path)
    scene.submit(THREE)
    fail_on(scene, dict.fromkeys(SMALL[:2], trouble))
    with capture_logs() as lines:
        await scene.run_until_idle()
    assert scene.statuses() == ["processing", "completed"]
    assert reported(scene) == [None, None, SMALL[2]]
    (line,) = [line for line in lines if line["event"] == "thumbnails_left_out"]
    assert (line["count"], line["problem"], line["log_level"]) == (2, str(trouble), "warning")


@story
async def test_the_report_waits_seconds_for_one_and_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "THUMBNAIL_SECONDS", 0.01)
    scene = scene_with_thumbnails(tmp_path)
    result = spooled(scene.spool, payload())
    gate = scene.store.script.hold("put")
    gate.open()
    scene.store.script.hold("put")  # never opened
    await scene.courier.deliver(with_thumbnails(result))
    assert scene.statuses() == ["completed"]
    assert reported(scene) == [None]
    assert list(scene.store.files) == [(BUCKET, KEYS[0])]


@story
async def test_pictures_that_cannot_be_stored_are_handed_back_before_any_thumbnail(tmp_path: Path) -> None:
    scene = scene_with_thumbnails(tmp_path)
    result = with_thumbnails(spooled(scene.spool, THREE))
    scene.store.script.fail_next("put", BackendUnavailable("storage did not answer"))
    with pytest.raises(BackendUnavailable):
        await scene.courier.deliver(result)
    assert scene.journal == [f"put {key}" for key in KEYS[1:]]


@story
async def test_a_lost_lease_ends_them_like_everything_else(tmp_path: Path) -> None:
    scene = scene_with_thumbnails(tmp_path)
    result = with_thumbnails(spooled(scene.spool, payload()))
    fail_on(scene, {SMALL[0]: Fenced("the lease was lost")})
    with pytest.raises(Fenced):
        await scene.courier.deliver(result)
    assert scene.statuses() == []


def with_thumbnails(result: Result) -> Result:
    assets = tuple(replace(stored, asset=with_thumbnail(stored.asset)) for stored in result.assets)
    return replace(result, assets=assets)


class TestSpool:
    def test_they_are_found_as_they_were(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        saved = with_thumbnails(spooled(spool, THREE))
        spool.save(saved)
        assert Spool(tmp_path).find("job-1") == saved

    @pytest.mark.parametrize("damage", ["gone", "cut short"])
    def test_a_damaged_one_costs_no_picture(self, damage: str, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        saved = with_thumbnails(spooled(spool, THREE))
        spool.save(saved)
        small = saved.assets[1].asset.thumbnail
        assert small is not None
        if damage == "gone":
            small.path.unlink()
        else:
            small.path.write_bytes(b"")
        found = spool.find("job-1")
        assert found is not None
        assert [stored.asset.thumbnail is None for stored in found.assets] == [False, True, False]

    def test_results_of_earlier_versions_are_found_parked_or_waiting(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        saved = spooled(spool, THREE)
        path = saved.assets[0].asset.path.parent / "result.json"
        manifest = json.loads(path.read_text())
        for entry in manifest["assets"]:
            del entry["thumbnail"]
        for entry in manifest["callback"]["assets"]:
            del entry["thumbnail_key"]
        path.write_text(json.dumps(manifest))
        assert spool.find("job-1") == saved
        spool.park("job-1", "the bucket was missing")
        (parked,) = spool.parked()
        assert parked.result is not None
        assert parked.result.callback == saved.callback

    @story
    async def test_a_redelivery_brings_them_along(self, tmp_path: Path) -> None:
        scene = Scene(tmp_path)
        scene.spool.save(with_thumbnails(spooled(scene.spool, payload())))
        scene.submit(payload(), attempt=2)
        await scene.run_until_idle()
        assert scene.engine.requests == []
        assert reported(scene) == SMALL[:1]


class TestBucketLimits:
    @story
    async def test_the_encoder_hears_what_the_bucket_takes_and_the_report_what_it_did(self, tmp_path: Path) -> None:
        scene = Scene(tmp_path)
        limit = scene.store.limits[BUCKET] = BucketLimit(1000, ("image/png",))
        scene.encoder.details = {"video_bitrate_reduced": True, "seed": "of no consequence"}
        scene.submit(payload())
        await scene.run_until_idle()
        assert scene.encoder.limits == [limit]
        metadata = scene.reporter.last().metadata
        assert (metadata["video_bitrate_reduced"], metadata["seed"]) == (True, 7)


@story
async def test_files_that_can_no_longer_be_signed_stop_the_worker_and_keep_the_job(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.encoder.errors = [ConfigurationError("OURVIDZ_C2PA_CERTIFICATE cannot sign: it has expired")]
    scene.submit(payload())
    async with scene.ending_with(ConfigurationError, match="has expired"):
        pass
    assert scene.statuses() == ["processing"]
    assert (len(scene.redis.queue), scene.held(), scene.attempts()) == (1, [], [1])
    assert scene.spool.find("job-1") is None

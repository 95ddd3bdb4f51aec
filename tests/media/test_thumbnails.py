"""A small picture beside each picture and video, where the bucket takes one."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from ourvidz_worker.engines.media import encoder
from ourvidz_worker.engines.media.options import MediaOptions
from ourvidz_worker.errors import OutputInvalid
from ourvidz_worker.ports import BucketLimit
from tests.media.orders import encode, gradient, request_for


@pytest.mark.parametrize(
    ("width", "height", "small"),
    [
        (1024, 1024, (256, 256)),
        (480, 832, (148, 256)),
        (832, 480, (256, 148)),
        (256, 256, (256, 256)),
        (64, 32, (64, 32)),
    ],
)
def test_a_thumbnail_keeps_the_shape_within_256_pixels(
    width: int, height: int, small: tuple[int, int], tmp_path: Path
) -> None:
    (asset,) = encode(request_for(width=width, height=height), tmp_path).assets
    assert asset.thumbnail is not None
    assert (asset.thumbnail.media_type, asset.thumbnail.path.name) == ("image/webp", "0.thumb.webp")
    assert (asset.thumbnail.width, asset.thumbnail.height) == small
    assert asset.thumbnail.bytes == asset.thumbnail.path.stat().st_size < 20_000
    with Image.open(asset.thumbnail.path) as picture:
        assert (picture.format, picture.mode, picture.size) == ("WEBP", "RGB", small)


def test_each_picture_has_its_own(tmp_path: Path) -> None:
    request = request_for(num_images=3)
    assets = encode(request, tmp_path).assets
    for asset, pixels in zip(assets, gradient(request), strict=True):
        assert asset.thumbnail is not None
        with Image.open(asset.thumbnail.path) as picture:
            assert np.abs(np.asarray(picture).astype(int) - pixels).mean() < 4


def test_a_video_shows_the_frame_in_its_middle(tmp_path: Path) -> None:
    request = request_for("video_fast")
    frames = np.zeros((9, 64, 64, 3), np.uint8)
    frames[4] = 200
    (asset,) = encode(request, tmp_path, frames=frames).assets
    assert asset.thumbnail is not None
    assert asset.thumbnail.path.name == "video.thumb.webp"
    with Image.open(asset.thumbnail.path) as picture:
        assert np.abs(np.asarray(picture).astype(int) - 200).max() < 4


def test_they_can_be_turned_off(tmp_path: Path) -> None:
    with capture_logs() as lines:
        (asset,) = encode(request_for(), tmp_path, options=MediaOptions(thumbnails=False)).assets
    assert asset.thumbnail is None
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
    assert lines == []


@pytest.mark.parametrize("allowed", [("image/png",), ("video/mp4", "video/*")])
def test_a_bucket_that_takes_none_is_told_of_in_one_line(allowed: tuple[str, ...], tmp_path: Path) -> None:
    with capture_logs() as lines:
        assets = encode(request_for(num_images=3), tmp_path, limit=BucketLimit(None, allowed)).assets
    assert [asset.thumbnail for asset in assets] == [None] * 3
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("thumbnails_left_out", "info")
    assert line["problem"] == "bucket sdxl_image_fast takes no image/webp: allow it in the bucket's settings"


@pytest.mark.parametrize("allowed", [None, ("image/png", "image/webp"), ("image/*",)])
def test_a_bucket_that_takes_them_gets_them(allowed: tuple[str, ...] | None, tmp_path: Path) -> None:
    (asset,) = encode(request_for(), tmp_path, limit=BucketLimit(None, allowed)).assets
    assert asset.thumbnail is not None


@pytest.mark.parametrize(
    ("step", "trouble"),
    [
        ("check_webp", OutputInvalid("the picture 0.thumb.webp does not decode")),
        ("write_thumbnail", OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_one_that_does_not_come_out_costs_no_picture(
    step: str, trouble: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(encoder, step, broken)
    with capture_logs() as lines:
        (asset,) = encode(request_for(), tmp_path).assets
    assert asset.thumbnail is None
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
    assert [line["event"] for line in lines] == ["thumbnails_left_out"]

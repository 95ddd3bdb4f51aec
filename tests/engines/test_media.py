"""Everything is decoded again before it may be sent: right size, right count, right codec."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from ourvidz_worker.engines.media.checks import check_mp4, check_png
from ourvidz_worker.engines.media.encoder import FileEncoder
from ourvidz_worker.errors import OutputInvalid
from ourvidz_worker.ports import Asset, BucketLimit, Generation, GenerationRequest

MakeRequest = Callable[..., GenerationRequest]


def encode(request: GenerationRequest, generation: Generation, folder: Path) -> tuple[Asset, ...]:
    return FileEncoder("fake-model").encode(request, generation, folder, BucketLimit()).assets


def frames_of(count: int, height: int = 256, width: int = 256) -> Any:
    """Smooth frames that differ: noise would not survive a lossy codec."""
    ramp = np.linspace(0, 200, width, dtype=np.uint8)
    frames = np.zeros((count, height, width, 3), dtype=np.uint8)
    frames[..., 0] = ramp
    frames[..., 1] = (np.arange(count) * 5 % 200)[:, None, None]
    return frames


def test_images_come_back_pixel_by_pixel_with_their_seeds(make_request: MakeRequest, tmp_path: Path) -> None:
    frames = frames_of(3)
    request = make_request("sdxl_image_fast", num_images=3, seed=40)
    assets = encode(request, Generation(frames, {}), tmp_path)
    assert [asset.seed for asset in assets] == [40, 41, 42]
    for asset, pixels in zip(assets, frames, strict=True):
        assert np.array_equal(np.asarray(Image.open(asset.path)), pixels)
        assert asset.bytes == asset.path.stat().st_size
        assert (asset.media_type, asset.width, asset.height, asset.frames) == ("image/png", 256, 256, 1)


@pytest.mark.parametrize("count", [1, 9])
def test_a_clip_is_h264_at_16_fps_with_its_index_in_front(
    make_request: MakeRequest, tmp_path: Path, count: int
) -> None:
    frames = frames_of(count, width=320)
    request = make_request("video_fast", num_frames=count, width=320)
    [asset] = encode(request, Generation(frames, {}), tmp_path)
    with av.open(str(asset.path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 16
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == count
    assert np.abs(decoded[-1].astype(int) - frames[-1]).mean() < 6
    data = asset.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert (asset.media_type, asset.frames, asset.bytes) == ("video/mp4", count, len(data))


@pytest.mark.parametrize(
    "frames",
    [
        frames_of(2),
        frames_of(1, height=240),
        frames_of(1).astype(np.float32),
        frames_of(1)[..., :2],
        frames_of(1)[0],
    ],
    ids=["count", "size", "type", "channels", "dimensions"],
)
def test_frames_that_are_not_what_the_job_asked_for_are_refused(
    make_request: MakeRequest, tmp_path: Path, frames: Any
) -> None:
    with pytest.raises(OutputInvalid, match="were asked for"):
        encode(make_request("image_fast"), Generation(frames, {}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_picture_is_refused(make_request: MakeRequest, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    [asset] = encode(make_request("image_fast"), Generation(noise, {}), tmp_path)
    whole = asset.path.read_bytes()
    asset.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OutputInvalid, match="does not decode"):
        check_png(asset.path, 256, 256)
    asset.path.write_bytes(b"")
    with pytest.raises(OutputInvalid, match="does not decode"):
        check_png(asset.path, 256, 256)


def test_a_picture_of_another_size_or_mode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    Image.new("RGB", (64, 32)).save(path)
    check_png(path, 64, 32)
    with pytest.raises(OutputInvalid, match=r"is \('RGB', 64, 32\)"):
        check_png(path, 32, 64)
    Image.new("L", (64, 32)).save(path)
    with pytest.raises(OutputInvalid, match="'L'"):
        check_png(path, 64, 32)


def test_a_damaged_or_short_clip_is_refused(make_request: MakeRequest, tmp_path: Path) -> None:
    request = make_request("video_fast")
    [asset] = encode(request, Generation(frames_of(9), {}), tmp_path)
    with pytest.raises(OutputInvalid, match="where"):
        check_mp4(asset.path, 256, 256, 8)
    with pytest.raises(OutputInvalid, match="where"):
        check_mp4(asset.path, 128, 256, 9)
    asset.path.write_bytes(asset.path.read_bytes()[:200])
    with pytest.raises(OutputInvalid, match="does not decode"):
        check_mp4(asset.path, 256, 256, 9)


def test_several_threads_may_encode_at_once(make_request: MakeRequest, tmp_path: Path) -> None:
    def encoded(index: int) -> int:
        folder = tmp_path / str(index)
        folder.mkdir()
        [asset] = encode(make_request("video_fast"), Generation(frames_of(9), {}), folder)
        return asset.frames

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(encoded, range(4))) == [9] * 4

"""A clip that is encoded while it is still being decoded, and the encoder that does it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from ourvidz_worker.engines.media import coding
from ourvidz_worker.engines.media.coding import NVENC, X264, Coding, VideoCoding
from ourvidz_worker.engines.media.encoder import FileEncoder
from ourvidz_worker.engines.media.reel import Reel
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import BucketLimit, Encoded, Footage, Generation
from tests.media.orders import ANYTHING, MODEL, encode, gradient, noise, request_for

CLIP = {"num_frames": 9}
Film = Callable[[Footage, Any], None]


def filming_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "filming"]


def in_chunks(footage: Footage, frames: Any) -> None:
    """As WAN's VAE gives them: one frame, then four at a time."""
    footage.add(0, frames[:1])
    for index in range(1, len(frames), 4):
        footage.add(index, frames[index : index + 4])


def filmed(folder: Path, film: Film, *, limit: BucketLimit = ANYTHING, frames: Any = None) -> Encoded:
    request = request_for("video_fast", **CLIP)
    frames = gradient(request) if frames is None else frames
    encoder = FileEncoder(MODEL)
    footage = encoder.film(request, folder)
    assert footage is not None
    film(footage, frames)
    return encoder.encode(request, Generation(frames, {}), folder, limit, footage)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The clip as it is encoded at once."""
    request = request_for("video_fast", **CLIP)
    return encode(request, tmp_path_factory.mktemp("whole")).assets[0].path.read_bytes()


def decoded_anew(footage: Footage, frames: Any) -> None:
    """What was black is decoded again from the beginning."""
    in_chunks(footage, np.zeros_like(frames))
    in_chunks(footage, frames)


def broken_off(footage: Footage, frames: Any) -> None:
    footage.add(0, frames[:5])


def with_a_gap(footage: Footage, frames: Any) -> None:
    footage.add(0, frames[:1])
    footage.add(5, frames[5:])


def with_too_many(footage: Footage, frames: Any) -> None:
    in_chunks(footage, frames)
    footage.add(len(frames), frames[:1])


def in_another_size(footage: Footage, frames: Any) -> None:
    footage.add(0, frames[:, :32])


def from_the_middle(footage: Footage, frames: Any) -> None:
    footage.add(4, frames[4:])


def never(footage: Footage, frames: Any) -> None: ...


@pytest.mark.parametrize("film", [in_chunks, decoded_anew])
def test_what_is_filmed_is_the_file_that_would_have_been_written(tmp_path: Path, whole: bytes, film: Film) -> None:
    with capture_logs() as logs:
        encoded = filmed(tmp_path, film)
    assert encoded.assets[0].path.read_bytes() == whole
    assert encoded.details == {"video_encoder": "libx264"}
    assert [log["event"] for log in logs] == []
    assert {path.name for path in tmp_path.iterdir()} == {"video.mp4", "video.thumb.webp"}
    assert filming_threads() == []


def test_a_filmed_clip_is_not_encoded_again(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_for("video_fast", **CLIP)
    encoder = FileEncoder(MODEL)
    footage = encoder.film(request, tmp_path)
    assert footage is not None
    in_chunks(footage, gradient(request))
    monkeypatch.setattr("ourvidz_worker.engines.media.clips.Reel", None)
    encoded = encoder.encode(request, Generation(gradient(request), {}), tmp_path, ANYTHING, footage)
    assert encoded.assets[0].path.read_bytes() == whole


@pytest.mark.parametrize("film", [broken_off, with_a_gap, with_too_many, in_another_size, from_the_middle, never])
def test_what_is_not_whole_is_encoded_from_the_frames(tmp_path: Path, whole: bytes, film: Film) -> None:
    with capture_logs() as logs:
        encoded = filmed(tmp_path, film)
    assert encoded.assets[0].path.read_bytes() == whole
    assert [log["event"] for log in logs] == (["footage_lost"] if film not in (never, from_the_middle) else [])
    assert {path.name for path in tmp_path.iterdir()} == {"video.mp4", "video.thumb.webp"}
    assert filming_threads() == []


def test_a_filmed_clip_that_is_too_large_is_made_smaller(tmp_path: Path) -> None:
    request = request_for("video_fast", num_frames=9)
    large = filmed(tmp_path, in_chunks, frames=noise(request)).assets[0].bytes
    encoded = filmed(tmp_path, in_chunks, frames=noise(request), limit=BucketLimit(large // 2))
    assert encoded.assets[0].bytes <= large // 2
    assert encoded.details["video_bitrate_reduced"]


@pytest.mark.parametrize("film", [never, broken_off, in_chunks, decoded_anew])
def test_a_discarded_clip_leaves_no_file_and_no_thread(tmp_path: Path, film: Film) -> None:
    request = request_for("video_fast", **CLIP)
    footage = FileEncoder(MODEL).film(request, tmp_path)
    assert footage is not None
    film(footage, gradient(request))
    footage.discard()
    footage.discard()
    footage.add(0, gradient(request))
    assert list(tmp_path.iterdir()) == []
    assert filming_threads() == []


def test_nobody_waits_for_the_encoder(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    add = Reel.add

    def slow(reel: Reel, pixels: Any) -> None:
        begun.set()
        assert go_on.wait(30)
        add(reel, pixels)

    monkeypatch.setattr(Reel, "add", slow)

    def film(footage: Footage, frames: Any) -> None:
        in_chunks(footage, frames)
        assert begun.wait(30)
        go_on.set()

    assert filmed(tmp_path, film).assets[0].path.read_bytes() == whole


def test_a_disk_that_cannot_be_written_is_met_where_the_clip_is_encoded(tmp_path: Path) -> None:
    request = request_for("video_fast", **CLIP)
    encoder = FileEncoder(MODEL)
    footage = encoder.film(request, tmp_path / "gone")
    assert footage is not None
    in_chunks(footage, gradient(request))
    with pytest.raises(OSError, match="No such file"):
        encoder.encode(request, Generation(gradient(request), {}), tmp_path / "gone", ANYTHING, footage)
    assert filming_threads() == []


def test_stills_are_not_filmed(tmp_path: Path) -> None:
    assert FileEncoder(MODEL).film(request_for(), tmp_path) is None


def test_the_card_s_encoder_is_looked_for_once_and_used_where_it_opens() -> None:
    asked: list[Coding] = []

    def opens(coding: Coding) -> None:
        asked.append(coding)

    video = VideoCoding("auto", opens)
    assert asked == []
    assert video.current() == video.current() == NVENC
    assert VideoCoding("auto", lambda _: "no driver").current() == X264
    assert VideoCoding("x264", opens).current() == X264
    assert VideoCoding("nvenc", opens).current() == NVENC
    assert asked == [NVENC, NVENC]
    with pytest.raises(ConfigurationError, match=r"OURVIDZ_VIDEO_ENCODER = nvenc, .*\(no driver\): set it to auto"):
        VideoCoding("nvenc", lambda _: "no driver")


def test_an_encoder_that_opens_is_told_from_one_that_does_not() -> None:
    assert coding.problem_of(X264) is None
    assert coding.problem_of(Coding("h264_no_such", {})) is not None
    assert coding.problem_of(Coding("libx264", {"preset": "no such"})) is not None


@pytest.mark.parametrize("film", [in_chunks, never])
def test_an_encoder_that_fails_is_not_tried_again(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch, film: Film
) -> None:
    """The preset that does not exist stands for a card that refuses, after it was found to work."""
    failing = Coding("libx264", {"preset": "no such"})
    monkeypatch.setattr(coding, "NVENC", failing)
    request = request_for("video_fast", **CLIP)
    encoder = FileEncoder(MODEL)
    encoder._video = VideoCoding("auto", lambda _: None)
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        footage = encoder.film(request, folder)
        assert footage is not None
        with capture_logs() as logs:
            film(footage, gradient(request))
            encoded = encoder.encode(request, Generation(gradient(request), {}), folder, ANYTHING, footage)
        assert encoded.assets[0].path.read_bytes() == whole
        assert encoded.details == {"video_encoder": "libx264"}
        assert ("video_encoder_given_up" in {log["event"] for log in logs}) == (number == 0)

"""Colours of a clip are what was drawn, for players that read the tags and for those that guess."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np

from tests.media.orders import encode, request_for

COLOURS = np.array(list(itertools.product((0, 255), repeat=3)), np.uint8)
BT709, LIMITED_RANGE = 1, 1


def test_a_clip_is_bt709_and_says_so(tmp_path: Path) -> None:
    request = request_for("video_fast", width=256, height=64, num_frames=1)
    bars = np.broadcast_to(np.repeat(COLOURS, 32, axis=0), (1, 64, 256, 3)).copy()
    (asset,) = encode(request, tmp_path, frames=bars).assets
    with av.open(str(asset.path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (BT709, BT709, BT709)
        assert context.color_range == LIMITED_RANGE
        (frame,) = container.decode(video=0)
    luma = frame.to_ndarray()[32, 16:256:32].astype(int)
    # ITU-R BT.709: black is 16, white 235, and green is most of the light.
    expected = np.round(16 + COLOURS / 255 @ np.array([0.2126, 0.7152, 0.0722]) * 219)
    assert np.abs(luma - expected).max() <= 1
    seen = frame.to_ndarray(format="rgb24")[32, 16:256:32].astype(int)
    assert np.abs(seen - COLOURS).max() <= 4

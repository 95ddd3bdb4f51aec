"""A clip that is too large for its bucket, encoded again at the bit rate that fits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import av

from ourvidz_worker.engines.media.clips import Clip

_TRIES = 4
_MARGIN = 0.95
_LEAST_BITS_PER_PIXEL = 0.02  # below that a moving picture is blocks


def reduced(clip: Clip, path: Path, limit_bytes: int, finish: Callable[[Path], None]) -> bool:
    """Replace the file of a clip by one of at most `limit_bytes`; `finish` is what else is done to it.

    False where no bearable bit rate fits; the file is then as it was, for whoever raises the limit.
    """
    draft = path.with_name(f"reduced-{path.name}")
    bit_rate = _MARGIN * limit_bytes * 8 / clip.seconds
    least = _LEAST_BITS_PER_PIXEL * clip.pixels_per_second
    with TemporaryDirectory(dir=path.parent) as folder, contextlib.suppress(av.error.ExternalError):
        # The suppressed error is x264's, for a rate that its coarsest quality would exceed.
        notes = Path(folder) / "passes"
        for number in range(_TRIES):
            if bit_rate < least:
                break
            if number == 0:
                clip.learn(int(bit_rate), notes)
            clip.write_at(int(bit_rate), notes, draft)
            finish(draft)
            size = draft.stat().st_size
            if size <= limit_bytes:
                draft.replace(path)
                return True
            # A clip of a second follows its rate within a few percent, one of few frames by far less.
            bit_rate *= _MARGIN * (limit_bytes / size) ** 2
    draft.unlink(missing_ok=True)
    return False

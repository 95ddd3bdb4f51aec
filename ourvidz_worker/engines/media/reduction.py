"""A clip that is too large for its bucket, encoded again at the bit rate that fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ourvidz_worker.engines.media.clips import Clip

_TRIES = 3  # two passes meet a bit rate within a few percent, and only very short clips miss it by more
_MARGIN = 0.95
_LEAST_BITS_PER_PIXEL = 0.02  # below that a moving picture is blocks


def reduced(clip: Clip, path: Path, limit_bytes: int, finish: Callable[[Path], None]) -> bool:
    """Replace the file of a clip by one of at most `limit_bytes`; `finish` is what else is done to it.

    False where no bearable bit rate fits; the file is then as it was, for whoever raises the limit.
    """
    draft = path.with_name(f"reduced-{path.name}")
    size = path.stat().st_size
    bit_rate = size * 8 / clip.seconds
    least = _LEAST_BITS_PER_PIXEL * clip.pixels_per_second
    with TemporaryDirectory(dir=path.parent) as folder:
        notes = Path(folder) / "passes"
        for number in range(_TRIES):
            bit_rate *= _MARGIN * limit_bytes / size
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
    draft.unlink(missing_ok=True)
    return False

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


def reduced(clip: Clip, path: Path, limit_bytes: int, finish: Callable[[Path], None]) -> bool:
    """Replace the file of a clip by one of at most `limit_bytes`; `finish` is what else is done to it.

    False where no bearable bit rate fits; the file is then as it was, for whoever raises the limit.
    """
    draft = path.with_name(f"reduced-{path.name}")
    bit_rate = _MARGIN * limit_bytes * 8 / clip.seconds
    with TemporaryDirectory(dir=path.parent) as folder, contextlib.suppress(av.error.ExternalError):
        notes = Path(folder) / "passes"
        for number in range(_TRIES):
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

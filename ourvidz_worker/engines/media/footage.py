"""A clip that is encoded while its last frames are still being decoded."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING

import av
import structlog

from ourvidz_worker.engines.media.coding import Coding, VideoCoding
from ourvidz_worker.engines.media.reel import Reel

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels


class FilmedClip:
    """Footage of one clip in `folder`; what a decoder gives must not change afterwards, for it is not copied.

    A clip that is decoded anew is filmed anew. There is a thread from the first frame on, and it holds no more than
    the clip's own frames.
    """

    def __init__(self, folder: Path, video: VideoCoding, *, fps: int, height: int, width: int) -> None:
        self._folder = folder
        self._video = video
        self._fps, self._height, self._width = fps, height, width
        self._lock = Lock()
        self._takes: list[_Take] = []
        self._over = False

    def add(self, index: int, frames: Pixels) -> None:
        with self._lock:
            if self._over:
                return
            if index == 0:
                self._begin_anew()
            if self._takes:
                self._takes[-1].add(index, frames)

    def finished(self, path: Path, count: int) -> str | None:
        """Put the clip at `path` if all `count` frames are in it; returns the encoder that did it. Blocks."""
        take = self._last_take()
        done = None if take is None else take.finished(path, count)
        if take is not None and done is None:
            structlog.get_logger().warning("footage_lost", problem=take.problem or "it is not complete")
        self.discard()
        return done

    def discard(self) -> None:
        with self._lock:
            self._over = True
            takes, self._takes = self._takes, []
        for take in takes:
            take.abandon()
        for take in takes:
            take.clear_away()

    def _begin_anew(self) -> None:
        for take in self._takes:
            take.abandon()
        path = self._folder / f"filming-{len(self._takes)}.mp4"
        self._takes.append(_Take(path, self._video, self._fps, self._height, self._width))

    def _last_take(self) -> _Take | None:
        with self._lock:
            self._over = True
            return self._takes[-1] if self._takes else None


class _Take:
    """One attempt at the clip: a file, and a thread that encodes what waits for it."""

    def __init__(self, path: Path, video: VideoCoding, fps: int, height: int, width: int) -> None:
        self.problem: str | None = None
        self._path = path
        self._video = video
        self._fps, self._height, self._width = fps, height, width
        self._waiting: SimpleQueue[Pixels | None] = SimpleQueue()
        self._expected = self._encoded = 0
        self._abandoned = False
        self._coding: Coding | None = None
        # A process that ends in the middle does not wait for it.
        self._thread = Thread(target=self._film, name="filming", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the machine has no thread left
            self._fail(str(error))

    def add(self, index: int, frames: Pixels) -> None:
        if index != self._expected:
            self._fail(f"frame {self._expected} is missing")
        self._expected += len(frames)
        if self.problem is None:
            self._waiting.put(frames)

    def finished(self, path: Path, count: int) -> str | None:
        self._end()
        if self.problem is not None or self._encoded != count or self._coding is None:
            return None
        self._path.replace(path)
        return self._coding.encoder

    def abandon(self) -> None:
        self._abandoned = True
        self._waiting.put(None)

    def clear_away(self) -> None:
        self._end()
        self._path.unlink(missing_ok=True)

    def _end(self) -> None:
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _fail(self, problem: str) -> None:
        self.problem = self.problem or problem
        self.abandon()

    def _film(self) -> None:
        try:
            self._coding = self._video.current()
            self._encode(self._coding)
        except _Abandoned:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the clip is encoded again from its frames
            self.problem = f"{type(error).__name__}: {error}"
            if isinstance(error, av.error.FFmpegError) and self._coding is not None:
                self._video.give_up(self._coding, error)

    def _encode(self, coding: Coding) -> None:
        with Reel(str(self._path), coding, fps=self._fps, height=self._height, width=self._width) as reel:
            while (frames := self._waiting.get()) is not None:
                for pixels in frames:
                    if self._abandoned:
                        raise _Abandoned
                    reel.add(pixels)
                    self._encoded += 1
            if self._abandoned:
                raise _Abandoned


class _Abandoned(Exception):
    """Nobody wants the clip any more."""

"""Ctrl-C and SIGTERM end a command in the same way: half a copy is removed, and a terminal has its cursor again."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """Within `with`, either signal raises `KeyboardInterrupt`."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._restored = ExitStack()

    @property
    def exit_code(self) -> int:
        """As a shell reports the signal."""
        return 128 + (self._signal or signal.SIGINT)

    def check(self) -> None:
        """Raise it again where a model library made an error of its own out of it."""
        if self._signal is not None:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._restored.callback(signal.signal, number, signal.signal(number, self._interrupt))
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._restored.close()

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        raise KeyboardInterrupt

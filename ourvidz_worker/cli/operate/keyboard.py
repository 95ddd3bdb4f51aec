"""A key of the terminal, heard without Enter."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pressed(key: str) -> Iterator[asyncio.Event]:
    """An event that this key sets, and Ctrl-C; where standard input is no terminal, Ctrl-C alone."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, event.set)
    if not sys.stdin.isatty():
        try:
            yield event
        finally:
            loop.remove_signal_handler(signal.SIGINT)
        return
    descriptor = sys.stdin.fileno()

    def heard() -> None:
        said = os.read(descriptor, 1024).decode(errors="replace").lower()
        if key in said or not said:
            event.set()

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, heard)
    try:
        yield event
    finally:
        loop.remove_reader(descriptor)
        loop.remove_signal_handler(signal.SIGINT)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

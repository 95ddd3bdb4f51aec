"""The lines of server-sent events, out of chunks of bytes that end anywhere."""

from __future__ import annotations


class LineTooLong(Exception):
    """A line longer than any event of ours."""


class EventLines:
    """Only CR and LF end a line: text of a model may hold U+2028 and U+0085, at which other readers divide."""

    def __init__(self, longest: int) -> None:
        """`longest` in bytes."""
        self._longest = longest
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that are whole now; raises `LineTooLong`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > self._longest:
            raise LineTooLong
        return [_text(line) for line in lines]

    def end(self) -> list[str]:
        """What stood behind the last line end."""
        return [_text(self._rest)] if self._rest else []


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")

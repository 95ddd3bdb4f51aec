"""A file that is still coming: beside its final place, and renamed only when it is whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from ourvidz_worker.file_lock import lock

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')  # only these promise the same bytes


class PartialFile:
    """`<name>.part`, and `<name>.part.etag` with the version that its bytes belong to."""

    def __init__(self, final: Path, file: FileIO) -> None:
        self._final = final
        self._path = part_of(final)
        self._etag_path = self._path.with_name(f"{self._path.name}.etag")
        self._file = file

    @property
    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    @property
    def etag(self) -> str | None:
        """The version of what is there; None where that is not known for certain, so that it cannot be gone on with."""
        if not self.size or not self._etag_path.is_file():
            return None
        etag = self._etag_path.read_text(encoding="ascii", errors="replace")
        return etag if _STRONG_ETAG.fullmatch(etag) else None

    def begin(self, etag: str | None) -> None:
        """Drop what is there: the bytes to come belong to this version, if it is known."""
        self._file.truncate(0)
        self._etag_path.unlink(missing_ok=True)
        if etag is not None and _STRONG_ETAG.fullmatch(etag):
            self._etag_path.write_text(etag, encoding="ascii")

    def append(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._file.fileno(), rest) :]

    def sha256(self) -> str:
        """Of what the disk gives back."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def discard(self) -> None:
        self._path.unlink()
        self._etag_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the file in its place; what lies there under the final name is always whole."""
        os.fsync(self._file.fileno())
        self._path.replace(self._final)
        self._etag_path.unlink(missing_ok=True)


def part_of(final: Path) -> Path:
    return final.with_name(f"{final.name}.part")


@contextmanager
def opened(final: Path) -> Iterator[PartialFile]:
    """The partial file of `final`; raises `ConfigurationError` while another process downloads it."""
    path = part_of(final)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b", buffering=0) as file:
            lock(file, f"another process downloads {final}: wait for it, or end it first")
            # One that just finished has renamed what was opened here: it must not be touched any more.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                yield PartialFile(final, file)
                return

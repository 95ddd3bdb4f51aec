"""Reference pictures that lie in the store that results go to."""

from __future__ import annotations

from typing import Protocol


class StoredFileUnusable(ValueError):
    """Why a file of the store cannot be used, as the rest of a sentence that begins with its field."""


class StoredFiles(Protocol):
    async def read(self, name: str, *, max_bytes: int) -> bytes:
        """What lies under `<bucket>/<key>`; raises `StoredFileUnusable` or `BackendUnavailable`."""


def too_large(max_bytes: int) -> StoredFileUnusable:
    return StoredFileUnusable(f"is larger than {max_bytes / 1024 / 1024:g} MiB")


def missing() -> StoredFileUnusable:
    return StoredFileUnusable("cannot be read: there is no such file in the store")

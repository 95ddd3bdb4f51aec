"""Signed addresses of stored files, for the page."""

from __future__ import annotations

import time
from typing import Any

from ourvidz_worker.local.database import Row
from ourvidz_worker.local.storage import SERVICE, ObjectStore
from ourvidz_worker.local.storage_errors import StorageError

SIGNED_FOR = 6 * 3600
KEPT_FOR = 3600.0
MOST_KEPT = 10_000


class Addresses:
    """An address stays the same for an hour: signing is dear, and what a browser has loaded it need not load again."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._kept: dict[tuple[str, str], tuple[str, float]] = {}

    def file(self, bucket: str, key: str) -> Row | None:
        """The stored object, whoever owns it, or None where nothing lies under this key."""
        try:
            return self._store.find(SERVICE, bucket, key)
        except StorageError:
            return None

    def of(self, bucket: str, key: str) -> str | None:
        """A path on this server, or None where nothing lies under this key."""
        if self.file(bucket, key) is None:
            return None
        address, until = self._kept.get((bucket, key), ("", 0.0))
        now = time.monotonic()
        if now >= until:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            address = f"/storage/v1{self._store.sign(SERVICE, bucket, key, SIGNED_FOR)}"
            self._kept[bucket, key] = address, now + KEPT_FOR
        return address

    def described(self, bucket: str, key: str) -> dict[str, Any] | None:
        """What there is to say of a stored file; None where there is none."""
        row = self.file(bucket, key)
        if row is None:
            return None
        return {
            "bucket": bucket,
            "key": key,
            "name": key.rpartition("/")[2],
            "bytes": row["size"],
            "media_type": row["media_type"],
            "version": row["version"],
            "url": self.of(bucket, key),
        }

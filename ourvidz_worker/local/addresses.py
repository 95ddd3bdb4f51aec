"""Stored files and the addresses under which the page gets them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ourvidz_worker.contract.storage_keys import thumbnail_key
from ourvidz_worker.local.storage import SERVICE, ObjectStore

SIGNED_FOR = 6 * 3600
KEPT_FOR = 3600.0
MOST_KEPT = 10_000
MOST_FILES = 100  # of one job; a producer may name as many as it likes


class Addresses:
    """An address stays the same for an hour: signing is dear, and what a browser has loaded it need not load again."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._kept: dict[tuple[str, str], tuple[str, float]] = {}

    def of(self, bucket: str, key: str) -> str | None:
        """A path on this server, or None where nothing lies under this key."""
        return self._signed(bucket, key) if self._store.present(bucket, [key]) else None

    def files(self, bucket: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        """What there is to say of those that exist: place, size, type and address, and that of the thumbnail."""
        present = self._store.present(bucket, keys[:MOST_FILES])
        small = {key: thumbnail_key(key) for key in present}
        thumbnails = self._store.present(bucket, list(small.values()))
        return [
            {
                "bucket": bucket,
                "key": key,
                "name": key.rpartition("/")[2],
                "bytes": row["size"],
                "media_type": row["media_type"],
                "version": row["version"],
                "url": self._signed(bucket, key),
                "thumbnail": self._signed(bucket, small[key]) if small[key] in thumbnails else None,
            }
            for key in keys[:MOST_FILES]
            if (row := present.get(key)) is not None
        ]

    def _signed(self, bucket: str, key: str) -> str:
        address, until = self._kept.get((bucket, key), ("", 0.0))
        now = time.monotonic()
        if now >= until:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            address = f"/storage/v1{self._store.sign(SERVICE, bucket, key, SIGNED_FOR)}"
            self._kept[bucket, key] = address, now + KEPT_FOR
        return address

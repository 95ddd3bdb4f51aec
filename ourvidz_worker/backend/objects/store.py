"""Results as objects under `<bucket>/<key>`, wherever the objects lie."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Protocol

from ourvidz_worker.backend.fitting import check_fit, check_whole
from ourvidz_worker.backend.retrying import Patience, Sleep, retrying
from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.errors import BackendRefused, BackendUnavailable
from ourvidz_worker.ports import Asset, BucketLimit

# What the parser lets into ids and the catalogue into names of buckets; no part of a path is hidden, `.` or `..`.
_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_KEY = re.compile(rf"{_NAME}(/{_NAME})*")


class Objects(Protocol):
    """Where objects lie; a name is a path with slashes."""

    async def put(self, name: str, asset: Asset) -> None:
        """Write a whole file over what lies there, or nothing.

        Raises `BackendUnavailable`, `BackendRefused`, and `ConfigurationError` where no file would be taken.
        """

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        """Raises `StoredFileUnusable` where there is none or too large a one, `BackendUnavailable`, and
        `ConfigurationError`.
        """

    async def check(self) -> None:
        """Write a small object and remove it again; raises as `put`."""

    async def close(self) -> None: ...


class ObjectStore:
    """An `AssetStore`. Buckets are those of the catalogue, and so are their limits: nobody else enforces them.

    `retry_seconds` is how long a file is tried again.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        buckets: Mapping[str, Bucket],
        retry_seconds: float = 120.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._objects = objects
        self._buckets = buckets
        self._retry_seconds = retry_seconds
        self._sleep = sleep

    async def put(self, bucket: str, key: str, asset: Asset) -> None:
        if bucket not in self._buckets:
            raise BackendRefused(
                f"there is no bucket {bucket}: add it to job_types.toml, or correct the payload's bucket"
            )
        if not _KEY.fullmatch(key):
            raise BackendRefused(f"the key {key!r} is no path below a bucket; it is not uploaded")
        check_whole(asset)
        check_fit(bucket, await self.limit(bucket), asset, limits_in="job_types.toml")
        patience: Patience = {BackendUnavailable: self._retry_seconds}
        await retrying("upload", patience, sleep=self._sleep)(self._objects.put, f"{bucket}/{key}", asset)

    async def limit(self, bucket: str) -> BucketLimit:
        known = self._buckets.get(bucket)
        return BucketLimit(known.limit_bytes, known.media_types) if known else BucketLimit()

    async def close(self) -> None:
        await self._objects.close()

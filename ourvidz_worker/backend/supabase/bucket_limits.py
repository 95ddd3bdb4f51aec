"""What a bucket takes, known before a file is made for it or sent to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import httpx
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError

from ourvidz_worker.backend.fitting import check_fit
from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.ports import Asset, BucketLimit

_KNOWN_SECONDS = 600.0  # a bucket's owner may change its settings while workers run


class BucketLimits:
    """What the server says, asked once per bucket and ten minutes; the catalogue where it cannot be asked."""

    def __init__(self, client: AsyncStorageClient, buckets: Mapping[str, Bucket], timeout_seconds: float) -> None:
        self._client = client
        self._buckets = buckets
        self._timeout_seconds = timeout_seconds
        self._known: dict[str, tuple[BucketLimit, float]] = {}

    async def of(self, bucket: str) -> BucketLimit:
        limit, asked_at = self._known.get(bucket, (None, 0.0))
        if limit is None or time.monotonic() - asked_at > _KNOWN_SECONDS:
            limit = await self._ask(bucket)
        return limit

    async def check(self, bucket: str, asset: Asset) -> None:
        """Raises `BackendRefused` for a file that the bucket would refuse."""
        check_fit(bucket, await self.of(bucket), asset, limits_in="the bucket's settings")

    def forget(self, bucket: str) -> None:
        """Something was refused, and the owner may mend that: the next file asks again."""
        self._known.pop(bucket, None)

    async def _ask(self, bucket: str) -> BucketLimit:
        catalogued = self._buckets.get(bucket)
        expected = BucketLimit(catalogued.limit_bytes, catalogued.media_types) if catalogued else BucketLimit()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                told = await self._client.get_bucket(bucket)
        except (StorageApiError, httpx.HTTPError, TimeoutError, ValueError, TypeError):
            # The look-up only spares a vain upload: the upload itself will say what is wrong.
            return expected
        # A bucket without a size of its own falls under the project's, which is not told.
        size = told.file_size_limit or expected.limit_bytes
        limit = BucketLimit(size, tuple(told.allowed_mime_types) if told.allowed_mime_types else None)
        self._known[bucket] = limit, time.monotonic()
        return limit

"""What a bucket takes, known before a file is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from storage3.exceptions import StorageApiError
from supabase import AsyncClient

from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.errors import BackendRefused
from ourvidz_worker.ports import Asset


@dataclass(frozen=True, slots=True)
class BucketLimit:
    """`limit_bytes` and `media_types` are None where nobody set any."""

    limit_bytes: int | None
    media_types: tuple[str, ...] | None

    def check(self, bucket: str, asset: Asset) -> None:
        """Raises `BackendRefused` for a file that the bucket would refuse."""
        if self.limit_bytes is not None and asset.bytes > self.limit_bytes:
            raise BackendRefused(
                f"{asset.path.name} has {asset.bytes} bytes and bucket {bucket} takes {self.limit_bytes}: "
                "raise the bucket's file size limit"
            )
        if self.media_types and not any(_matches(asset.media_type, allowed) for allowed in self.media_types):
            raise BackendRefused(
                f"bucket {bucket} takes {', '.join(self.media_types)} and not {asset.media_type}: "
                "allow this media type in the bucket's settings"
            )


class BucketLimits:
    """What the server says, asked once per bucket; the catalogue where it says nothing."""

    def __init__(self, client: AsyncClient, buckets: Mapping[str, Bucket], timeout_seconds: float) -> None:
        self._client = client
        self._buckets = buckets
        self._timeout_seconds = timeout_seconds
        self._known: dict[str, BucketLimit] = {}

    async def check(self, bucket: str, asset: Asset) -> None:
        """Raises `BackendRefused` for a file that the bucket would refuse."""
        if bucket not in self._known:
            self._known[bucket] = await self._ask(bucket)
        try:
            self._known[bucket].check(bucket, asset)
        except BackendRefused:
            # The owner may raise the limit after reading this; the next file asks again.
            del self._known[bucket]
            raise

    async def _ask(self, bucket: str) -> BucketLimit:
        catalogued = self._buckets.get(bucket)
        limit = catalogued.limit_bytes if catalogued else None
        media_types = catalogued.media_types if catalogued else None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                told = await self._client.storage.get_bucket(bucket)
        except (StorageApiError, httpx.HTTPError, TimeoutError, ValueError, TypeError):
            # The look-up only spares a vain upload: the upload itself will say what is wrong.
            return BucketLimit(limit, media_types)
        return BucketLimit(
            told.file_size_limit or limit,
            tuple(told.allowed_mime_types) if told.allowed_mime_types else media_types,
        )


def _matches(media_type: str, allowed: str) -> bool:
    family = allowed.removesuffix("*")
    return media_type == allowed or (family != allowed and media_type.startswith(family))

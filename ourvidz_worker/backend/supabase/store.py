"""Results into Supabase Storage, retried on exactly what contract section 4 calls worth a retry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import httpx
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError

from ourvidz_worker.backend.exchange import ExchangeTransport
from ourvidz_worker.backend.fitting import check_whole
from ourvidz_worker.backend.retrying import Sleep, retrying
from ourvidz_worker.backend.supabase.bucket_limits import BucketLimits
from ourvidz_worker.backend.supabase.resumable_upload import ResumableUpload
from ourvidz_worker.backend.supabase.storage_errors import Target
from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.errors import BackendRefused, BackendUnavailable
from ourvidz_worker.ports import Asset, BucketLimit

LARGEST_SINGLE_REQUEST = 6 * 1024 * 1024
_CONNECT_SECONDS = 5.0
_LOOK_UP_SECONDS = 10.0


class SupabaseStore:
    """An `AssetStore`; `url` is the project's.

    `timeout_seconds` bounds one request; `retry_seconds` is how long a file, or each chunk of a large one, is
    tried again.
    """

    def __init__(
        self,
        *,
        url: str,
        service_key: str,
        buckets: Mapping[str, Bucket],
        timeout_seconds: float = 60.0,
        retry_seconds: float = 120.0,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._service_key = service_key
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            transport=ExchangeTransport(),
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            headers={"apikey": service_key, "Authorization": f"Bearer {service_key}"},
        )
        endpoint = f"{url.rstrip('/')}/storage/v1/"
        self._storage = AsyncStorageClient(endpoint, {}, http_client=self._http)
        self._resumable_endpoint = f"{endpoint}upload/resumable"
        self._limits = BucketLimits(self._storage, buckets, min(timeout_seconds, _LOOK_UP_SECONDS))

    async def put(self, bucket: str, key: str, asset: Asset) -> None:
        target = Target(bucket, key, self._service_key)
        check_whole(asset)
        try:
            await self._limits.check(bucket, asset)
            await self._send(target, asset)
        except BackendRefused:
            self._limits.forget(bucket)
            raise

    async def limit(self, bucket: str) -> BucketLimit:
        return await self._limits.of(bucket)

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, target: Target, asset: Asset) -> None:
        if asset.bytes > LARGEST_SINGLE_REQUEST:
            await self._send_in_chunks(target, asset)
        else:
            await self._patiently(target, partial(self._send_at_once, target, asset))

    async def _send_at_once(self, target: Target, asset: Asset) -> None:
        content = await asyncio.to_thread(asset.path.read_bytes)
        try:
            await self._storage.from_(target.bucket).upload(
                target.key, content, {"content-type": asset.media_type, "upsert": "true"}
            )
        except StorageApiError as error:
            raise target.failure(int(error.status), error.message) from error
        except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
            raise target.unanswered(error) from error

    async def _send_in_chunks(self, target: Target, asset: Asset) -> None:
        upload = ResumableUpload(
            self._http,
            self._resumable_endpoint,
            target,
            path=asset.path,
            size=asset.bytes,
            media_type=asset.media_type,
        )
        while not upload.finished:
            await self._patiently(target, upload.send_chunk)

    async def _patiently(self, target: Target, call: Callable[[], Awaitable[None]]) -> None:
        async def attempt() -> None:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await call()
            except TimeoutError as error:
                raise target.unanswered(error) from error

        await retrying("upload", {BackendUnavailable: self._retry_seconds}, sleep=self._sleep)(attempt)

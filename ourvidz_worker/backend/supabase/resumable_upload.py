"""Uploads above 6 MB in chunks that survive a failure, by the TUS protocol (contract section 4)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import httpx

from ourvidz_worker.backend.supabase.storage_errors import Target
from ourvidz_worker.errors import BackendUnavailable

CHUNK_BYTES = 6 * 1024 * 1024
# The store judges an overwrite on every request, the last chunk's included.
_EVERY_REQUEST = {"Tus-Resumable": "1.0.0", "x-upsert": "true"}
_VANISHED = (404, 410)
_OFFSET_DISPUTED = (409, 423, 460)


class ResumableUpload:
    """One file on its way. Call `send_chunk` until `finished`; after a failure it goes on where the store is.

    `http` carries the credentials. `size` is the file's in bytes, more than 0.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        endpoint: str,
        target: Target,
        *,
        path: Path,
        size: int,
        media_type: str,
    ) -> None:
        self._http = http
        self._endpoint = httpx.URL(endpoint)
        self._target = target
        self._path = path
        self._size = size
        self._media_type = media_type
        self._location: httpx.URL | None = None
        self._offset: int | None = None

    @property
    def finished(self) -> bool:
        return self._offset == self._size

    async def send_chunk(self) -> None:
        """Bring the upload one chunk further.

        Raises `BackendUnavailable` when a repeat is worth it, and `BackendRefused`.
        """
        if self._location is None:
            self._location = await self._create()
            self._offset = 0
        elif self._offset is None:
            self._offset = await self._stored_bytes(self._location)
        if not self.finished:
            offset, self._offset = self._offset, None  # unknown until the store confirms
            self._offset = await self._patch(self._location, offset)

    async def _create(self) -> httpx.URL:
        metadata = {
            "bucketName": self._target.bucket,
            "objectName": self._target.key,
            "contentType": self._media_type,
            "cacheControl": "3600",
        }
        headers = {
            "Upload-Length": str(self._size),
            "Upload-Metadata": ",".join(f"{name} {_base64(value)}" for name, value in metadata.items()),
        }
        answer = await self._request("POST", self._endpoint, headers)
        if answer.status_code != 201:
            raise self._target.failure(answer.status_code, answer.text)
        location = answer.headers.get("Location")
        if not location:
            raise BackendUnavailable(f"storage began the upload of {self._target} without saying where")
        # The store names itself as it sees itself: behind a gateway its scheme, host and the path before the
        # upload's id may be others, and the service key belongs to the configured host alone.
        upload_id = httpx.URL(location).path.rstrip("/").rpartition("/")[2]
        return self._endpoint.copy_with(path=f"{self._endpoint.path}/{upload_id}")

    async def _stored_bytes(self, location: httpx.URL) -> int:
        answer = await self._request("HEAD", location, {})
        return self._confirmed_offset(answer, at_least=0)

    async def _patch(self, location: httpx.URL, offset: int) -> int:
        chunk = await asyncio.to_thread(self._read, offset)
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        answer = await self._request("PATCH", location, headers, chunk)
        return self._confirmed_offset(answer, at_least=offset + 1)

    def _confirmed_offset(self, answer: httpx.Response, *, at_least: int) -> int:
        if answer.status_code in _VANISHED:
            self._location = None
            raise BackendUnavailable(f"the upload of {self._target} expired; it begins anew")
        if answer.status_code in _OFFSET_DISPUTED:
            raise BackendUnavailable(f"storage lost count of {self._target}; its offset is asked for")
        if not answer.is_success:
            raise self._target.failure(answer.status_code, answer.text)
        offset = answer.headers.get("Upload-Offset", "")
        if not offset.isdecimal() or not at_least <= int(offset) <= self._size:
            raise BackendUnavailable(f"storage confirmed no usable offset for {self._target}: {offset!r}")
        return int(offset)

    async def _request(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | None = None
    ) -> httpx.Response:
        try:
            return await self._http.request(method, url, headers={**_EVERY_REQUEST, **headers}, content=content)
        except httpx.HTTPError as error:
            raise self._target.unanswered(error) from error

    def _read(self, offset: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()

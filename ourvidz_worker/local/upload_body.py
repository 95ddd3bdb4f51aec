"""The bytes of an upload, sent either as the request's body or as the one file of a form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self

from starlette.datastructures import UploadFile
from starlette.requests import Request

from ourvidz_worker.local import storage_errors as errors

CHUNK = 1024 * 1024


class UploadBody:
    """`async with UploadBody(request) as body` knows the media type before the bytes are read.

    However the block ends, the body was read to its end, so that the client can read the answer.
    Raises `StorageError` for a form without a file.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._stream = request.stream()
        self._file: UploadFile | None = None
        self.media_type = request.headers.get("content-type", "application/octet-stream")
        self.cache_control = request.headers.get("cache-control", "no-cache")

    async def __aenter__(self) -> Self:
        if self.media_type.startswith("multipart/form-data"):
            form = await self._request.form()
            self._file = next((part for part in form.values() if isinstance(part, UploadFile)), None)
            if self._file is None:
                await form.close()
                raise errors.invalid_request("the form holds no file")
            self.media_type = self._file.content_type or "application/octet-stream"
            self.cache_control = f"max-age={form.get('cacheControl', '3600')}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._file:
            await self._request.close()
        else:
            async for _chunk in self._stream:
                pass

    def chunks(self) -> AsyncIterator[bytes]:
        return self._pieces(self._file) if self._file else self._stream

    async def _pieces(self, file: UploadFile) -> AsyncIterator[bytes]:
        while piece := await file.read(CHUNK):
            yield piece

"""Resumable uploads by the TUS protocol, as Supabase Storage has them (contract section 4).

Errors are real HTTP codes with plain text. Chunks are exactly 6 MiB, only the last may be smaller.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.gateway import bearer
from ourvidz_worker.local.keys import BadToken, Identity, Keys
from ourvidz_worker.local.storage import Destination, ObjectStore
from ourvidz_worker.local.storage_errors import StorageError
from ourvidz_worker.local.whole_numbers import whole

CHUNK_BYTES = 6 * 1024 * 1024
VERSION = {"Tus-Resumable": "1.0.0"}
ABILITIES = {
    **VERSION,
    "Tus-Version": "1.0.0",
    "Tus-Extension": "creation,creation-with-upload,termination",
}
OFFSET_STREAM = "application/offset+octet-stream"

Handler = Callable[[Request], Awaitable[Response]]


class TusError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Resumable:
    """The routes below `/storage/v1/upload`; what has arrived is the length of the file on disk."""

    def __init__(self, store: ObjectStore, database: Database, keys: Keys) -> None:
        self._store = store
        self._database = database
        self._keys = keys
        self._busy: set[str] = set()

    def routes(self) -> list[Route]:
        return [
            Route("/upload/resumable", self.abilities, methods=["OPTIONS"]),
            Route("/upload/resumable", _answering(self.create), methods=["POST"]),
            Route("/upload/resumable/{upload}", self.abilities, methods=["OPTIONS"]),
            Route("/upload/resumable/{upload}", _answering(self.offset), methods=["HEAD"]),
            Route("/upload/resumable/{upload}", _answering(self.append), methods=["PATCH"]),
            Route("/upload/resumable/{upload}", _answering(self.terminate), methods=["DELETE"]),
        ]

    async def abilities(self, _request: Request) -> Response:
        return Response(status_code=204, headers=ABILITIES)

    async def create(self, request: Request) -> Response:
        """Check the destination and open an upload; a body that comes along is its first chunk."""
        named = _metadata(request.headers.get("upload-metadata", ""))
        length = _whole(request, "upload-length")
        destination = self._store.admit(
            self._identify(request),
            named.get("bucketName", ""),
            named.get("objectName", ""),
            named.get("contentType", "application/octet-stream"),
            cache_control=f"max-age={named.get('cacheControl', '3600')}",
            upsert=_overwrites(request),
        )
        if destination.limit_bytes is not None and length > destination.limit_bytes:
            raise TusError(413, "Maximum size exceeded")
        upload = self._database.insert(
            "uploads",
            {
                "bucket_id": destination.bucket,
                "name": destination.key,
                "media_type": destination.media_type,
                "cache_control": destination.cache_control,
                "length": length,
            },
        )
        self._file(upload).touch()
        carried = request.headers.get("content-type") == OFFSET_STREAM
        if carried or length == 0:
            await self._receive(upload, 0, request)
        location = request.url.replace(query="").path + f"/{upload['id']}"
        return Response(
            status_code=201,
            headers={
                **VERSION,
                "Location": f"{request.url.scheme}://{request.url.netloc}{location}",
                **({"Upload-Offset": str(self._arrived(upload))} if carried else {}),
            },
        )

    async def offset(self, request: Request) -> Response:
        upload = self._upload(request)
        return Response(
            headers={
                **VERSION,
                "Upload-Offset": str(self._arrived(upload)),
                "Upload-Length": str(upload["length"]),
                "Cache-Control": "no-store",
            }
        )

    async def append(self, request: Request) -> Response:
        if request.headers.get("content-type") != OFFSET_STREAM:
            raise TusError(415, f"Invalid Content-Type: it must be {OFFSET_STREAM}")
        upload = self._upload(request)
        arrived = await self._receive(upload, _whole(request, "upload-offset"), request)
        return Response(status_code=204, headers={**VERSION, "Upload-Offset": str(arrived)})

    async def terminate(self, request: Request) -> Response:
        self._forget(self._upload(request))
        return Response(status_code=204, headers=VERSION)

    async def _receive(self, upload: Row, offset: int, request: Request) -> int:
        """Append one chunk, and make the file the object once it is whole. Gives the bytes that have arrived."""
        with self._alone(upload["id"]):
            if offset != self._arrived(upload):
                raise TusError(409, f"Upload-Offset conflict: {self._arrived(upload)} bytes have arrived")
            expected = min(CHUNK_BYTES, upload["length"] - offset)
            path = self._file(upload)
            try:
                await _write_chunk(path, offset, expected, request)
            except (TusError, ClientDisconnect):
                with path.open("r+b") as file:  # a part of a chunk would break the rule for all that follow
                    file.truncate(offset)
                raise
            if offset + expected == upload["length"]:
                self._store.accept(_destination(upload, upsert=_overwrites(request)), path)
                self._forget(upload)
            return int(offset + expected)

    def _identify(self, request: Request) -> Identity:
        try:
            return bearer(request, self._keys)
        except BadToken as error:
            raise TusError(403, str(error)) from error

    def _upload(self, request: Request) -> Row:
        identity = self._identify(request)
        upload = self._database.one("uploads", "id = ?", request.path_params["upload"])
        owned = upload and (identity.is_service or upload["name"].startswith(f"{identity.user_id}/"))
        if upload is None or not owned:
            raise TusError(404, "The file for this url was not found")
        return upload

    def _file(self, upload: Row) -> Path:
        return self._store.incoming(upload["id"])

    def _arrived(self, upload: Row) -> int:
        path = self._file(upload)
        return path.stat().st_size if path.exists() else int(upload["length"])

    def _forget(self, upload: Row) -> None:
        self._database.delete("uploads", "id = ?", [upload["id"]])
        self._file(upload).unlink(missing_ok=True)

    @contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        """Two requests that append to the same file would mix their bytes."""
        if upload_id in self._busy:
            raise TusError(423, "Another request is writing to this upload")
        self._busy.add(upload_id)
        try:
            yield
        finally:
            self._busy.discard(upload_id)


async def _write_chunk(path: Path, offset: int, expected: int, request: Request) -> None:
    received = 0
    with path.open("r+b") as file:
        file.seek(offset)
        async for piece in request.stream():
            received += len(piece)
            if received <= expected:
                file.write(piece)
    if received != expected:
        raise TusError(
            400, f"A chunk of {received} bytes came where {expected} were due: chunks are 6 MiB, the last is the rest"
        )


def _answering(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except TusError as error:
            return PlainTextResponse(str(error), error.status, VERSION)
        except StorageError as error:
            return PlainTextResponse(str(error), error.status, VERSION)
        except ClientDisconnect:
            return PlainTextResponse("the chunk was cut short", 400, VERSION)

    return answer


def _metadata(header: str) -> dict[str, str]:
    """`name base64,name base64`."""
    named = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        name, _, value = pair.partition(" ")
        try:
            named[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise TusError(400, f"Upload-Metadata: the value of {name} is not base64 of UTF-8 text") from error
    return named


def _whole(request: Request, header: str) -> int:
    value = request.headers.get(header, "")
    number = whole(value)
    if number is None:
        raise TusError(400, f"{header.title()} must be a whole number, not {value[:40]!r}")
    return number


def _overwrites(request: Request) -> bool:
    """The real store asks this of every request, the last chunk's included."""
    return request.headers.get("x-upsert", "").lower() == "true"


def _destination(upload: Row, *, upsert: bool) -> Destination:
    return Destination(upload["bucket_id"], upload["name"], upload["media_type"], None, upload["cache_control"], upsert)

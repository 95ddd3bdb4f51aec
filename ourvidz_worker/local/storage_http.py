"""Supabase Storage's HTTP interface over the object store (contract section 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from ourvidz_worker.local import storage_errors as errors
from ourvidz_worker.local.database import Conflict, Database, Row
from ourvidz_worker.local.gateway import bearer
from ourvidz_worker.local.json_body import parse_json
from ourvidz_worker.local.keys import BadToken, Identity, Keys
from ourvidz_worker.local.listing import SORTABLE, entry, level
from ourvidz_worker.local.storage import SERVICE, ObjectStore, check_bucket
from ourvidz_worker.local.storage_errors import StorageError
from ourvidz_worker.local.upload_body import UploadBody
from ourvidz_worker.local.whole_numbers import whole

# A file that somebody uploaded is shown as what it says it is, and runs no script beside the page.
AS_IT_IS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
UNREADABLE = "Either the object does not exist or you do not have access to it"

Handler = Callable[[Request], Awaitable[Response]]


class StorageHttp:
    """The routes below `/storage/v1`, the resumable ones excepted."""

    def __init__(self, store: ObjectStore, database: Database, keys: Keys) -> None:
        self._store = store
        self._database = database
        self._keys = keys

    def routes(self) -> list[Route]:
        """The most specific paths first: `/object/<bucket>/<key>` would match them all."""
        return [
            Route("/bucket", _answering(self.buckets), methods=["GET"]),
            Route("/bucket", _answering(self.create_bucket), methods=["POST"]),
            Route("/bucket/{bucket}", _answering(self.bucket), methods=["GET"]),
            Route("/object/list/{bucket}", _answering(self.list), methods=["POST"]),
            Route("/object/sign/{bucket}", _answering(self.sign_many), methods=["POST"]),
            Route("/object/sign/{bucket}/{key:path}", _answering(self.sign), methods=["POST"]),
            Route("/object/sign/{bucket}/{key:path}", _answering(self.download_signed), methods=["GET"]),
            Route("/object/public/{bucket}/{key:path}", _answering(self.download_public), methods=["GET"]),
            Route("/object/info/{bucket}/{key:path}", _answering(self.info), methods=["GET"]),
            Route("/object/authenticated/{bucket}/{key:path}", _answering(self.download), methods=["GET"]),
            Route("/object/{bucket}", _answering(self.remove_many), methods=["DELETE"]),
            Route("/object/{bucket}/{key:path}", _answering(self.download), methods=["GET"]),
            Route("/object/{bucket}/{key:path}", _answering(self.upload), methods=["POST", "PUT"]),
            Route("/object/{bucket}/{key:path}", _answering(self.remove), methods=["DELETE"]),
        ]

    def identify(self, request: Request) -> Identity:
        try:
            return bearer(request, self._keys)
        except BadToken as error:
            raise errors.unauthorized(str(error)) from error

    async def buckets(self, request: Request) -> Response:
        self._service(request)
        return JSONResponse([_bucket(row) for row in self._database.select("buckets", tail="ORDER BY id")])

    async def bucket(self, request: Request) -> Response:
        self._service(request)
        return JSONResponse(_bucket(self._store.bucket(request.path_params["bucket"])))

    async def create_bucket(self, request: Request) -> Response:
        self._service(request)
        wish = await _json(request)
        name, media_types = str(wish.get("id") or wish.get("name") or ""), wish.get("allowed_mime_types")
        check_bucket(name)
        limits = {
            "public": bool(wish.get("public", False)),
            "file_size_limit": _whole(wish.get("file_size_limit"), "file_size_limit"),
            "allowed_mime_types": media_types and _strings(wish, "allowed_mime_types"),
        }
        try:
            self._database.insert("buckets", {"id": name, **limits})
        except Conflict as error:
            raise errors.duplicate() from error
        return JSONResponse({"name": name})

    async def upload(self, request: Request) -> Response:
        """POST makes an object, PUT or `x-upsert: true` replaces it; the body is raw or a form with one file."""
        identity = self.identify(request)
        upsert = request.method == "PUT" or request.headers.get("x-upsert", "").lower() == "true"
        try:
            async with UploadBody(request) as body:
                destination = self._store.admit(
                    identity,
                    *_place(request),
                    body.media_type,
                    cache_control=body.cache_control,
                    upsert=upsert,
                )
                row = await self._store.receive(destination, body.chunks())
        except ClientDisconnect as error:
            raise errors.invalid_request("the upload was cut short") from error
        return JSONResponse({"Key": f"{row['bucket_id']}/{row['name']}", "Id": row["id"]})

    async def download(self, request: Request) -> Response:
        return self._file(request, self._store.find(self.identify(request), *_place(request)))

    async def download_signed(self, request: Request) -> Response:
        token = request.query_params.get("token", "")
        return self._file(request, self._store.signed(*_place(request), token))

    async def download_public(self, request: Request) -> Response:
        bucket, key = _place(request)
        if not self._store.bucket(bucket)["public"]:
            raise errors.bucket_not_found()
        return self._file(request, self._store.find(SERVICE, bucket, key))

    async def info(self, request: Request) -> Response:
        row = self._store.find(self.identify(request), *_place(request))
        return JSONResponse(
            {
                "id": row["id"],
                "name": row["name"],
                "bucket_id": row["bucket_id"],
                "version": row["version"],
                "size": row["size"],
                "content_type": row["media_type"],
                "cache_control": row["cache_control"],
                "etag": row["etag"],
                "metadata": {},
                "created_at": row["created_at"],
                "last_modified": row["updated_at"],
            }
        )

    async def list(self, request: Request) -> Response:
        """One level of a folder: objects with their size and type, folders with nulls."""
        identity, wish = self.identify(request), await _json(request)
        folder = str(wish.get("prefix") or "").strip("/")
        prefix = f"{folder}/" if folder else ""
        rows = self._store.under(identity, request.path_params["bucket"], prefix)
        search = str(wish.get("search") or "").lower()
        entries = [item for item in level(rows, len(prefix)) if search in item["name"].lower()]
        order = wish.get("sortBy") or {}
        column = order.get("column", "name")
        if column not in SORTABLE:
            raise errors.invalid_request(f"cannot sort by {column!r}: use {', '.join(SORTABLE)}")
        entries.sort(key=lambda item: item[column] or "", reverse=order.get("order") == "desc")
        offset = _whole(wish.get("offset"), "offset") or 0
        limit = _whole(wish.get("limit"), "limit")
        return JSONResponse(entries[offset : offset + (100 if limit is None else limit)])

    async def sign(self, request: Request) -> Response:
        identity, wish = self.identify(request), await _json(request)
        return JSONResponse({"signedURL": self._store.sign(identity, *_place(request), _lifetime(wish))})

    async def sign_many(self, request: Request) -> Response:
        identity, wish = self.identify(request), await _json(request)
        bucket, paths = request.path_params["bucket"], _strings(wish, "paths")
        self._store.bucket(bucket)
        return JSONResponse([self._signed_or_not(identity, bucket, path, _lifetime(wish)) for path in paths])

    async def remove(self, request: Request) -> Response:
        bucket, key = _place(request)
        if not self._store.remove(self.identify(request), bucket, [key]):
            raise errors.object_not_found()
        return JSONResponse({"message": "Successfully deleted"})

    async def remove_many(self, request: Request) -> Response:
        identity, wish = self.identify(request), await _json(request)
        rows = self._store.remove(identity, request.path_params["bucket"], _strings(wish, "prefixes"))
        return JSONResponse([entry(row, row["name"]) | {"bucket_id": row["bucket_id"]} for row in rows])

    def _service(self, request: Request) -> None:
        if not self.identify(request).is_service:
            raise errors.unauthorized("new row violates row-level security policy")

    def _signed_or_not(self, identity: Identity, bucket: str, path: str, seconds: int) -> dict[str, str | None]:
        try:
            return {"error": None, "path": path, "signedURL": self._store.sign(identity, bucket, path, seconds)}
        except StorageError:
            return {"error": UNREADABLE, "path": path, "signedURL": None}

    def _file(self, request: Request, row: Row) -> Response:
        """The bytes, or the part of them that a Range header asks for."""
        download = request.query_params.get("download")
        return FileResponse(
            self._store.path(row),
            media_type=row["media_type"],
            headers={"etag": row["etag"], "cache-control": row["cache_control"], **AS_IT_IS},
            filename=None if download is None else download or row["name"].rpartition("/")[2],
        )


def _answering(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except StorageError as error:
            return JSONResponse(error.body(), 400)
        except HTTPException as error:
            return JSONResponse(errors.invalid_request(error.detail).body(), 400)

    return answer


def _place(request: Request) -> tuple[str, str]:
    return request.path_params["bucket"], request.path_params["key"]


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = parse_json(await request.body() or b"{}")
    except ValueError as error:
        raise errors.invalid_request("the body is not JSON") from error
    if not isinstance(body, dict):
        raise errors.invalid_request("the body is not a JSON object")
    return body


def _strings(wish: dict[str, Any], name: str) -> list[str]:
    value = wish.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise errors.invalid_request(f"body/{name} must be an array of strings")
    return value


def _whole(value: object, name: str) -> int | None:
    """A whole number, also one in a string: `storage3` sends `"60"`."""
    if value is None:
        return None
    number = None if isinstance(value, bool) else whole(str(value))
    if number is None:
        raise errors.invalid_request(f"body/{name} must be a whole number, not {str(value)[:40]!r}")
    return number


def _lifetime(wish: dict[str, Any]) -> int:
    seconds = _whole(wish.get("expiresIn"), "expiresIn")
    if not seconds:
        raise errors.invalid_request("body/expiresIn must be a number of seconds above 0")
    return seconds


def _bucket(row: Row) -> Row:
    return {**row, "name": row["id"], "owner": "", "type": "STANDARD"}

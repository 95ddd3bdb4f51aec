"""Buckets and objects: rows in the database, bytes in files (contract section 4)."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.local import storage_errors as errors
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.keys import BadToken, Identity, Keys
from ourvidz_worker.local.schema import now

VALID_KEY = re.compile(r"[\w/!\-.*'() &$@=;:+,?]{1,1024}", re.ASCII)
SERVICE = Identity("service_role")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an upload may go: everything but its size was checked."""

    bucket: str
    key: str
    media_type: str
    limit_bytes: int | None
    cache_control: str = "no-cache"
    upsert: bool = False


class ObjectStore:
    """Each upload becomes a new file; the row points to the newest, so a reader never sees half of one."""

    def __init__(self, database: Database, keys: Keys, folder: Path) -> None:
        self._database = database
        self._keys = keys
        self._objects = folder / "objects"
        self._incoming = folder / "incoming"
        for place in (self._objects, self._incoming):
            place.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove files of earlier versions: only now is it certain that nobody is reading one."""
        versions = {row["version"] for row in self._database.select("objects")}
        uploads = {row["id"] for row in self._database.select("uploads")}
        for place, wanted in ((self._objects, versions), (self._incoming, uploads)):
            for path in place.iterdir():
                if path.name not in wanted:
                    path.unlink()

    def provide(self, buckets: Iterable[Bucket]) -> None:
        """Make these buckets, or give them these limits if they exist."""
        for bucket in buckets:
            limits = {
                "public": bucket.public,
                "file_size_limit": bucket.limit_bytes,
                "allowed_mime_types": list(bucket.media_types),
            }
            if not self._database.update("buckets", limits, "id = ?", [bucket.name]):
                self._database.insert("buckets", {"id": bucket.name, **limits})

    def bucket(self, name: str) -> Row:
        found = self._database.one("buckets", "id = ?", name)
        if found is None:
            raise errors.bucket_not_found()
        return found

    def incoming(self, name: str | None = None) -> Path:
        """A place for bytes that are still arriving."""
        return self._incoming / (name or str(uuid.uuid4()))

    def admit(
        self,
        identity: Identity,
        bucket: str,
        key: str,
        media_type: str,
        *,
        cache_control: str = "no-cache",
        upsert: bool = False,
    ) -> Destination:
        """Check everything that can be known before the bytes come. Raises `StorageError`."""
        row = self.bucket(bucket)
        check_key(key)
        if not _owns(identity, key):
            raise errors.unauthorized("new row violates row-level security policy")
        allowed = row["allowed_mime_types"]
        if allowed and not any(fnmatchcase(media_type, pattern) for pattern in allowed):
            raise errors.invalid_media_type(media_type)
        if not upsert and self._row(bucket, key):
            raise errors.duplicate()
        return Destination(bucket, key, media_type, row["file_size_limit"], cache_control, upsert)

    async def receive(self, destination: Destination, chunks: AsyncIterator[bytes]) -> Row:
        """Write the bytes to disk and make them the object. Raises `StorageError`."""
        path = self.incoming()
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    if destination.limit_bytes is not None and file.tell() + len(chunk) > destination.limit_bytes:
                        raise errors.too_large()
                    file.write(chunk)
            return self.accept(destination, path)
        finally:
            path.unlink(missing_ok=True)

    def accept(self, destination: Destination, path: Path) -> Row:
        """Make a complete file the object's newest version; the file moves. Raises `StorageError`."""
        version = str(uuid.uuid4())
        row = {
            "version": version,
            "size": path.stat().st_size,
            "media_type": destination.media_type,
            "cache_control": destination.cache_control,
            "etag": _etag(path),
            "updated_at": now(),
        }
        place = (destination.bucket, destination.key)
        if not destination.upsert and self._row(*place):  # another upload of the same key was faster
            raise errors.duplicate()
        path.replace(self._objects / version)
        changed = self._database.update("objects", row, "bucket_id = ? AND name = ?", place)
        if changed:
            return changed[0]
        return self._database.insert("objects", {"bucket_id": destination.bucket, "name": destination.key, **row})

    def find(self, identity: Identity, bucket: str, key: str) -> Row:
        """The object, if this caller may read it; else it is not found, as row level security has it."""
        public = self.bucket(bucket)["public"]
        row = self._row(bucket, key)
        if row is None or not (public or _owns(identity, key)):
            raise errors.object_not_found()
        return row

    def present(self, bucket: str, keys: Sequence[str]) -> dict[str, Row]:
        """Which of these keys (a few) have an object, whoever owns it."""
        places = ", ".join("?" for _ in keys)
        rows = self._database.select("objects", f"bucket_id = ? AND name IN ({places})", [bucket, *keys])
        return {row["name"]: row for row in rows}

    def path(self, row: Row) -> Path:
        return self._objects / str(row["version"])

    def remove(self, identity: Identity, bucket: str, keys: Iterable[str]) -> list[Row]:
        """Delete the objects that exist and may be deleted; the rest is passed over, as the real one does."""
        self.bucket(bucket)
        return [
            row
            for key in keys
            if _owns(identity, key)
            for row in self._database.delete("objects", "bucket_id = ? AND name = ?", [bucket, key])
        ]

    def under(self, identity: Identity, bucket: str, prefix: str) -> list[Row]:
        """All objects below a folder, in the order of their names."""
        self.bucket(bucket)
        rows = self._database.select(
            "objects", "bucket_id = ? AND substr(name, 1, ?) = ?", [bucket, len(prefix), prefix], tail="ORDER BY name"
        )
        return [row for row in rows if _owns(identity, row["name"])]

    def sign(self, identity: Identity, bucket: str, key: str, seconds: int) -> str:
        """A download address that works for `seconds`, relative to `/storage/v1`."""
        self.find(identity, bucket, key)
        token = self._keys.sign({"url": f"{bucket}/{key}"}, seconds)
        return f"/object/sign/{quote(f'{bucket}/{key}')}?token={token}"

    def signed(self, bucket: str, key: str, token: str) -> Row:
        """The object that a signed address grants. Raises `StorageError` for a token of another object, too."""
        try:
            claims = self._keys.verify(token)
        except BadToken as error:
            raise errors.unauthorized(str(error)) from error
        if claims.get("url") != f"{bucket}/{key}":
            raise errors.unauthorized("the token was signed for another object")
        return self.find(SERVICE, bucket, key)

    def _row(self, bucket: str, key: str) -> Row | None:
        return self._database.one("objects", "bucket_id = ? AND name = ?", bucket, key)


def check_key(key: str) -> None:
    """Raises `StorageError` for characters that Storage refuses, and for paths that climb."""
    if not VALID_KEY.fullmatch(key) or {"", ".", ".."} & set(key.split("/")):
        raise errors.invalid_key(key)


def check_bucket(name: str) -> None:
    """Raises `StorageError` for what no key may be, and for a slash: `a/b` and `c` sign like `a` and `b/c`."""
    check_key(name)
    if "/" in name:
        raise errors.invalid_key(name)


def _owns(identity: Identity, key: str) -> bool:
    """The service key may do everything; a user lives in the folder named like the user."""
    return identity.is_service or (identity.user_id is not None and key.startswith(f"{identity.user_id}/"))


def _etag(path: Path) -> str:
    with path.open("rb") as file:
        return f'"{hashlib.file_digest(file, "md5").hexdigest()}"'

"""One level of a bucket, as Storage lists it: objects with size and type, folders with nulls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ourvidz_worker.local.database import Row

SORTABLE = ("name", "created_at", "updated_at", "last_accessed_at")
FOLDER = {"id": None, "updated_at": None, "created_at": None, "last_accessed_at": None, "metadata": None}


def level(rows: Iterable[Row], depth: int) -> Iterator[Row]:
    """The entries below a prefix of `depth` characters; what lies deeper shows as its folder, once."""
    folders: set[str] = set()
    for row in rows:
        head, slash, _ = row["name"][depth:].partition("/")
        if not slash:
            yield entry(row, head)
        elif head not in folders:
            folders.add(head)
            yield {"name": head, **FOLDER}


def entry(row: Row, name: str) -> Row:
    return {
        "name": name,
        "id": row["id"],
        "updated_at": row["updated_at"],
        "created_at": row["created_at"],
        "last_accessed_at": row["updated_at"],
        "metadata": {
            "eTag": row["etag"],
            "size": row["size"],
            "mimetype": row["media_type"],
            "cacheControl": row["cache_control"],
            "lastModified": row["updated_at"],
            "contentLength": row["size"],
            "httpStatusCode": 200,
        },
    }

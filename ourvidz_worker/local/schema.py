"""The tables of the embedded backend and the kinds of their columns."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any


class Kind(Enum):
    """A column's PostgreSQL type, by the name its error messages use."""

    UUID = "uuid"
    TEXT = "text"
    INTEGER = "integer"
    BOOL = "boolean"
    JSON = "jsonb"
    TIME = "timestamp with time zone"


SQLITE_TYPES = {Kind.INTEGER: "INTEGER", Kind.BOOL: "INTEGER"}


@dataclass(frozen=True, slots=True)
class Table:
    columns: Mapping[str, Kind]
    key: tuple[str, ...] = ("id",)
    make: Mapping[str, Callable[[], Any]] = field(default_factory=dict)

    def defaults(self) -> dict[str, Any]:
        """Fresh values for the columns that the product's database fills by itself."""
        return {name: value() for name, value in self.make.items()}


def _uuid() -> str:
    return str(uuid.uuid4())


def now() -> str:
    """The time as PostgreSQL sends a `timestamptz`: UTC, microseconds, with the offset."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


NEW: Mapping[str, Callable[[], Any]] = {"id": _uuid, "created_at": now}
NEW_JOB: Mapping[str, Callable[[], Any]] = {**NEW, "status": lambda: "queued", "metadata": dict}

JOBS = Table(
    {
        "id": Kind.UUID,
        "user_id": Kind.UUID,
        "job_type": Kind.TEXT,
        "format": Kind.TEXT,
        "quality": Kind.TEXT,
        "model_type": Kind.TEXT,
        "status": Kind.TEXT,
        "metadata": Kind.JSON,
        "project_id": Kind.UUID,
        "video_id": Kind.UUID,
        "image_id": Kind.UUID,
        "created_at": Kind.TIME,
        "completed_at": Kind.TIME,
        "error_message": Kind.TEXT,
    },
    make=NEW_JOB,
)

IMAGES = Table(
    {
        "id": Kind.UUID,
        "user_id": Kind.UUID,
        "job_id": Kind.UUID,
        "image_index": Kind.INTEGER,
        "prompt": Kind.TEXT,
        "title": Kind.TEXT,
        "image_url": Kind.TEXT,
        "thumbnail_url": Kind.TEXT,
        "status": Kind.TEXT,
        "quality": Kind.TEXT,
        "format": Kind.TEXT,
        "metadata": Kind.JSON,
        "created_at": Kind.TIME,
        "updated_at": Kind.TIME,
    },
    make={**NEW_JOB, "updated_at": now},
)

VIDEOS = Table(
    {
        "id": Kind.UUID,
        "user_id": Kind.UUID,
        "job_id": Kind.UUID,
        "prompt": Kind.TEXT,
        "title": Kind.TEXT,
        "video_url": Kind.TEXT,
        "thumbnail_url": Kind.TEXT,
        "status": Kind.TEXT,
        "quality": Kind.TEXT,
        "format": Kind.TEXT,
        "metadata": Kind.JSON,
        "error_message": Kind.TEXT,
        "created_at": Kind.TIME,
        "completed_at": Kind.TIME,
    },
    make=NEW_JOB,
)

USAGE_LOGS = Table(
    {
        "id": Kind.UUID,
        "user_id": Kind.UUID,
        "action": Kind.TEXT,
        "format": Kind.TEXT,
        "quality": Kind.TEXT,
        "credits_consumed": Kind.INTEGER,
        "metadata": Kind.JSON,
        "created_at": Kind.TIME,
    },
    make=NEW,
)

PROJECTS = Table(
    {
        "id": Kind.UUID,
        "user_id": Kind.UUID,
        "original_prompt": Kind.TEXT,
        "enhanced_prompt": Kind.TEXT,
        "character_id": Kind.UUID,
        "created_at": Kind.TIME,
    },
    make=NEW,
)

WORKSPACE_ASSETS = Table(
    {
        "id": Kind.UUID,
        "user_id": Kind.UUID,
        "job_id": Kind.UUID,
        "asset_type": Kind.TEXT,
        "temp_storage_path": Kind.TEXT,
        "thumbnail_path": Kind.TEXT,
        "mime_type": Kind.TEXT,
        "asset_index": Kind.INTEGER,
        "generation_seed": Kind.INTEGER,
        "generation_settings": Kind.JSON,
        "created_at": Kind.TIME,
    },
    make=NEW,
)

CALLBACKS = Table(
    {
        "id": Kind.INTEGER,
        "job_id": Kind.TEXT,
        "status": Kind.TEXT,
        "received_at": Kind.TIME,
        "body": Kind.TEXT,
        "answer_status": Kind.INTEGER,
        "answer": Kind.TEXT,
    },
    make={"received_at": now},
)

REQUESTS = Table({"job_id": Kind.UUID, "body": Kind.JSON}, key=("job_id",))

USERS = Table(
    {
        "id": Kind.UUID,
        "email": Kind.TEXT,
        "password_hash": Kind.TEXT,
        "created_at": Kind.TIME,
        "last_sign_in_at": Kind.TIME,
    },
    make=NEW,
)

REFRESH_TOKENS = Table(
    {"token": Kind.TEXT, "user_id": Kind.UUID, "session_id": Kind.UUID, "created_at": Kind.TIME},
    key=("token",),
    make={"created_at": now},
)

BUCKETS = Table(
    {
        "id": Kind.TEXT,
        "public": Kind.BOOL,
        "file_size_limit": Kind.INTEGER,
        "allowed_mime_types": Kind.JSON,
        "created_at": Kind.TIME,
        "updated_at": Kind.TIME,
    },
    make={"public": lambda: False, "created_at": now, "updated_at": now},
)

OBJECTS = Table(
    {
        "id": Kind.UUID,
        "bucket_id": Kind.TEXT,
        "name": Kind.TEXT,
        "version": Kind.UUID,
        "size": Kind.INTEGER,
        "media_type": Kind.TEXT,
        "cache_control": Kind.TEXT,
        "etag": Kind.TEXT,
        "created_at": Kind.TIME,
        "updated_at": Kind.TIME,
    },
    key=("bucket_id", "name"),
    make={**NEW, "updated_at": now},
)

UPLOADS = Table(
    {
        "id": Kind.UUID,
        "bucket_id": Kind.TEXT,
        "name": Kind.TEXT,
        "media_type": Kind.TEXT,
        "cache_control": Kind.TEXT,
        "length": Kind.INTEGER,
        "created_at": Kind.TIME,
    },
    make=NEW,
)

PUBLIC_TABLES: Mapping[str, Table] = {
    "jobs": JOBS,
    "images": IMAGES,
    "videos": VIDEOS,
    "usage_logs": USAGE_LOGS,
    "projects": PROJECTS,
    "workspace_assets": WORKSPACE_ASSETS,
}

TABLES: Mapping[str, Table] = {
    **PUBLIC_TABLES,
    "callbacks": CALLBACKS,
    "requests": REQUESTS,
    "users": USERS,
    "refresh_tokens": REFRESH_TOKENS,
    "buckets": BUCKETS,
    "objects": OBJECTS,
    "uploads": UPLOADS,
}


def ddl() -> Iterator[str]:
    """The statements that make the tables where they are missing."""
    for name, table in TABLES.items():
        columns = [f'"{column}" {SQLITE_TYPES.get(kind, "TEXT")}' for column, kind in table.columns.items()]
        key = ", ".join(f'"{column}"' for column in table.key)
        yield f'CREATE TABLE IF NOT EXISTS "{name}" ({", ".join(columns)}, PRIMARY KEY ({key}))'
    for name in ("images", "videos", "callbacks", "workspace_assets"):
        yield f'CREATE INDEX IF NOT EXISTS "{name}_by_job" ON "{name}" (job_id)'
    yield 'CREATE INDEX IF NOT EXISTS "jobs_by_age" ON "jobs" (created_at)'

"""How Supabase Storage says no (contract section 4): HTTP 400, with the real status inside the body."""

from __future__ import annotations


class StorageError(Exception):
    """One refusal: `status` is the body's `statusCode`, `error` its machine-readable word."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error

    def body(self) -> dict[str, str]:
        return {"statusCode": str(self.status), "error": self.error, "message": str(self)}


def duplicate() -> StorageError:
    return StorageError(409, "Duplicate", "The resource already exists")


def too_large() -> StorageError:
    return StorageError(413, "Payload too large", "The object exceeded the maximum allowed size")


def invalid_media_type(media_type: str) -> StorageError:
    return StorageError(415, "invalid_mime_type", f"mime type {media_type} is not supported")


def bucket_not_found() -> StorageError:
    return StorageError(404, "Bucket not found", "Bucket not found")


def object_not_found() -> StorageError:
    return StorageError(404, "not_found", "Object not found")


def invalid_key(key: str) -> StorageError:
    return StorageError(400, "InvalidKey", f"Invalid key: {key}")


def unauthorized(reason: str) -> StorageError:
    return StorageError(403, "Unauthorized", reason)


def invalid_request(reason: str) -> StorageError:
    return StorageError(400, "invalid_request", reason)

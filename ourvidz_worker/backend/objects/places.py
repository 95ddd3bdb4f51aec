"""Where objects lie: `s3://bucket/prefix` or `file:///folder`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, or of a volume."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """A bucket and what all keys in it begin with; `virtual_host` puts its name before the host, not into the path."""

    name: str
    prefix: str = ""
    virtual_host: bool = False

    def __str__(self) -> str:
        return f"the S3 bucket {self.name}"


Place = Folder | S3Bucket


def parse_place(url: str) -> Place:
    """Raises `ValueError` with what is wrong, without repeating the URL: a key may have been written into it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is no URL; write s3://bucket/prefix or file:///folder") from None
    if parts.scheme not in ("s3", "file"):
        raise ValueError("must begin with s3:// or file://")
    if "@" in parts.netloc:
        raise ValueError("must hold no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if parts.fragment:
        raise ValueError("must hold no #")
    return _bucket(parts.netloc, parts.path, parts.query) if parts.scheme == "s3" else _folder(url)


def _bucket(name: str, path: str, query: str) -> S3Bucket:
    if not _BUCKET.fullmatch(name):
        raise ValueError("must name a bucket, like s3://results or s3://results/prefix")
    prefix = path.strip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise ValueError("must have a prefix of letters, digits, - and _ between slashes, or none")
    match parse_qsl(query, keep_blank_values=True):
        case []:
            return S3Bucket(name, prefix)
        case [("addressing", "path" | "virtual" as addressing)]:
            return S3Bucket(name, prefix, virtual_host=addressing == "virtual")
    raise ValueError("may end with ?addressing=virtual or ?addressing=path and with nothing else")


def _folder(url: str) -> Folder:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or parts.query or not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be the whole path of a folder of this machine, like file:///workspace/results")
    return Folder(path)

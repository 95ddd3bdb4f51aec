"""Whether a file can go into a bucket, asked before it is sent."""

from __future__ import annotations

from ourvidz_worker.errors import BackendRefused
from ourvidz_worker.ports import Asset, BucketLimit


def check_whole(asset: Asset) -> None:
    """Raises `BackendRefused` for a file that is empty or cut short; a store would take it (contract section 4)."""
    size = asset.path.stat().st_size
    if size == 0 or size != asset.bytes:
        raise BackendRefused(f"{asset.path} has {size} bytes instead of {asset.bytes}; it is not uploaded")


def check_fit(bucket: str, limit: BucketLimit, asset: Asset, *, limits_in: str) -> None:
    """Raises `BackendRefused` for a file that the bucket does not take; `limits_in` is where its owner sets limits."""
    if not limit.holds(asset.bytes):
        raise BackendRefused(
            f"{asset.path.name} has {asset.bytes} bytes and bucket {bucket} takes {limit.limit_bytes}: "
            f"raise its file size limit in {limits_in}, or ask for a smaller picture or a shorter video"
        )
    if not limit.allows(asset.media_type):
        raise BackendRefused(
            f"bucket {bucket} takes {', '.join(limit.media_types or ())} and not {asset.media_type}: "
            f"allow this media type in {limits_in}"
        )

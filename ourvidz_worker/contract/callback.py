"""What the worker tells the product's `job-callback` function, in both profiles (contract section 5)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ourvidz_worker.contract.catalogue import Media

CallbackStatus = Literal["processing", "completed", "failed"]
CallbackProfile = Literal["2025-07", "2026-02"]
PROFILES: tuple[CallbackProfile, ...] = ("2025-07", "2026-02")

SIGNATURE_HEADER = "X-Callback-Signature"


@dataclass(frozen=True, slots=True)
class ReportedAsset:
    """A stored picture or video: `key` inside its bucket, size in pixels, `duration` in seconds (videos).

    `thumbnail_key` is None where no thumbnail lies in the bucket; profile 2025-07 has no place for it.
    """

    key: str
    media: Media
    width: int
    height: int
    seed: int
    duration: float | None = None
    thumbnail_key: str | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """One report on a job, independent of the profile it is spoken in.

    Raises `ValueError` for `completed` without assets, which the product answers with 200 and a broken
    record, and for `failed` without a sentence.
    """

    job_id: str
    status: CallbackStatus
    assets: tuple[ReportedAsset, ...] = ()
    error_message: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    enhanced_prompt: str | None = None

    def __post_init__(self) -> None:
        if self.status == "completed" and not self.assets:
            raise ValueError(f"job {self.job_id} cannot be reported completed without assets")
        if self.status == "failed" and not self.error_message:
            raise ValueError(f"job {self.job_id} cannot be reported failed without an error message")


def callback_body(callback: Callback, profile: CallbackProfile) -> bytes:
    """The exact bytes to send, which are also what the signature covers."""
    body: dict[str, Any] = {
        "job_id": callback.job_id,
        "status": callback.status,
        "assets": [_asset(asset, profile) for asset in callback.assets],
        "error_message": callback.error_message,
        "metadata": dict(callback.metadata),
    }
    if callback.enhanced_prompt is not None:
        body |= {"enhanced_prompt": callback.enhanced_prompt, "enhancedPrompt": callback.enhanced_prompt}
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair in a message must not keep a job from being reported.
    return text.encode(errors="replace")


def callback_signature(body: bytes, secret: str) -> str:
    """The value of `X-Callback-Signature` for these bytes."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _asset(asset: ReportedAsset, profile: CallbackProfile) -> str | dict[str, Any]:
    """A key in 2025-07, where an object fails the call; an object in 2026-02, where a string is dropped."""
    if profile == "2025-07":
        return asset.key
    metadata: dict[str, Any] = {
        "seed": asset.seed,
        "width": asset.width,
        "height": asset.height,
        "format": "mp4" if asset.media == "video" else "png",
    }
    if asset.duration is not None:
        metadata["duration"] = asset.duration
    return {"type": asset.media, "url": asset.key, "thumbnail_url": asset.thumbnail_key, "metadata": metadata}

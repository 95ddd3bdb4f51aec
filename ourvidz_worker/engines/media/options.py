"""What an operator may choose about files; imports nothing, so that settings and doors may read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Embeddable = Literal["prompt", "user_id", "job_id", "seed"]
EMBEDDABLE: tuple[Embeddable, ...] = get_args(Embeddable)

VideoEncoder = Literal["auto", "x264", "nvenc"]

SigningAlgorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]


@dataclass(frozen=True, slots=True)
class Signing:
    """PEM files: the chain with the signing certificate first, and its key. `timestamp_url` is an RFC 3161 service."""

    certificate: Path
    key: Path
    algorithm: SigningAlgorithm = "es256"
    timestamp_url: str | None = None


@dataclass(frozen=True, slots=True)
class MediaOptions:
    """`embed` is what files may say about their job; without `signing` they carry no C2PA manifest.

    `video_encoder` is `auto` for NVIDIA's encoder where the card has one and libx264 elsewhere.
    """

    embed: frozenset[Embeddable] = field(default_factory=frozenset)
    thumbnails: bool = True
    signing: Signing | None = None
    video_encoder: VideoEncoder = "auto"


DEFAULT_OPTIONS = MediaOptions()

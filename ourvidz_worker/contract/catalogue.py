"""The job catalogue: ten types, their defaults, and the ranges a payload may move them in."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

ModelFamily = Literal["sdxl", "wan"]
Media = Literal["image", "video"]
ModelType = Literal["sdxl", "wan", "enhanced-7b"]

MIB = 1024 * 1024
MEDIA_TYPES: Mapping[Media, str] = {"image": "image/png", "video": "video/mp4"}
THUMBNAIL_MEDIA_TYPE = "image/webp"


@dataclass(frozen=True, slots=True)
class Range:
    """An inclusive range of numbers."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{_plain(self.low)} to {_plain(self.high)}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a payload may move the parameters of one model family.

    `width` and `height` in pixels, each divisible by `multiple_of`, their product at most `pixels`. `solvers` are
    the names of the ways from noise to picture: WAN's `sample_solver`, SDXL's `scheduler`.
    """

    num_inference_steps: Range
    guidance_scale: Range
    width: Range
    height: Range
    multiple_of: int
    pixels: int
    num_frames: Range
    flow_shift: Range
    solvers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A storage bucket with the limits its owner set (bytes, media types)."""

    name: str
    limit_bytes: int
    media_types: tuple[str, ...]
    public: bool = False


@dataclass(frozen=True, slots=True)
class JobType:
    """One row of the table in contract section 3."""

    name: str
    queue: str
    model_family: ModelFamily
    media: Media
    quality: str
    enhanced: bool
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int
    num_frames: int
    bucket_limit_bytes: int
    expected_seconds: float
    expected_per_image: bool
    fps: int
    solver: str
    flow_shift: float
    limits: Limits

    @property
    def bucket(self) -> str:
        """The bucket is named like the job type unless a payload says otherwise (contract section 3)."""
        return self.name

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.media]

    @property
    def model_type(self) -> ModelType:
        """The product's name for what made the result (`model_type` of contract section 5)."""
        return "enhanced-7b" if self.enhanced else self.model_family


class Catalogue(Mapping[str, JobType]):
    """All job types by name, and all buckets by name."""

    def __init__(self, types: Mapping[str, JobType], buckets: Mapping[str, Bucket]) -> None:
        self._types = dict(types)
        self.buckets: Mapping[str, Bucket] = dict(buckets)

    def __getitem__(self, name: str) -> JobType:
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def queue_of(self, family: ModelFamily) -> str:
        """The queue that a worker of this family takes its jobs from."""
        return next(job_type.queue for job_type in self.values() if job_type.model_family == family)

    def fast_types(self, queue: str) -> frozenset[str]:
        """The types of a queue whose users wait for a quick result."""
        return frozenset(name for name, row in self.items() if row.queue == queue and row.quality == "fast")


def parse_catalogue(text: str) -> Catalogue:
    """Read `configs/job_types.toml`.

    Raises `ValueError` naming the table when an entry is missing or has a wrong value.
    """
    document = tomllib.loads(text)
    limits = {family: _limits(family, table) for family, table in _table(document, "limits").items()}
    families = {family: _table(document, family) for family in get_args(ModelFamily)}
    types = {name: _job_type(name, table, limits, families) for name, table in _table(document, "types").items()}
    buckets = {
        job_type.bucket: Bucket(
            job_type.bucket, job_type.bucket_limit_bytes, (job_type.media_type, THUMBNAIL_MEDIA_TYPE)
        )
        for job_type in types.values()
    }
    buckets |= {name: _bucket(name, table) for name, table in _table(document, "buckets").items()}
    if not types:
        raise ValueError("the job catalogue names no job type: add a [types.…] table")
    return Catalogue(types, buckets)


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    match document.get(name, {}):
        case dict(table):
            return table
        case other:
            raise ValueError(f"{name} in the job catalogue must be a table, got {other!r}")


def _range(ends: Iterable[float]) -> Range:
    low, high = map(float, ends)
    if not low <= high:
        raise ValueError(f"the range [{low:g}, {high:g}] is empty")
    return Range(low, high)


def _limits(family: str, table: Mapping[str, Any]) -> Limits:
    try:
        return Limits(
            num_inference_steps=_range(table["num_inference_steps"]),
            guidance_scale=_range(table["guidance_scale"]),
            width=_range(table["width"]),
            height=_range(table["height"]),
            multiple_of=int(table["multiple_of"]),
            pixels=int(table["pixels"]),
            num_frames=_range(table.get("num_frames", (1, 1))),
            flow_shift=_range(table.get("flow_shift", (1.0, 1.0))),
            solvers=tuple(table["solvers"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"[limits.{family}] in the job catalogue is wrong: {error!r}") from error


def _job_type(
    name: str, table: Mapping[str, Any], limits: Mapping[str, Limits], families: Mapping[str, Mapping[str, Any]]
) -> JobType:
    try:
        family = _one_of(get_args(ModelFamily), table["model_family"])
        defaults = families[family]
        media = _one_of(tuple(MEDIA_TYPES), table["media"])
        width, height = table["size"]
        return JobType(
            name=name,
            queue=str(table["queue"]),
            model_family=cast(ModelFamily, family),
            media=cast(Media, media),
            quality=str(table["quality"]),
            enhanced=bool(table.get("enhanced", False)),
            num_inference_steps=int(table["num_inference_steps"]),
            guidance_scale=float(table["guidance_scale"]),
            width=int(width),
            height=int(height),
            num_frames=int(table.get("num_frames", 1)),
            bucket_limit_bytes=int(table["bucket_limit_mib"]) * MIB,
            expected_seconds=float(table["expected_seconds"]),
            expected_per_image=bool(table.get("expected_per_image", False)),
            fps=int(defaults.get("fps", 1)),
            solver=_one_of(limits[family].solvers, defaults["solver"]),
            flow_shift=float(defaults.get("flow_shift", 1.0)),
            limits=limits[family],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"[types.{name}] in the job catalogue is wrong: {error!r}") from error


def _plain(number: float) -> str:
    """Every digit of a whole number, also of the largest seed."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def _one_of(allowed: tuple[str, ...], value: Any) -> str:
    if value not in allowed:
        raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
    return str(value)


def _bucket(name: str, table: Mapping[str, Any]) -> Bucket:
    try:
        return Bucket(
            name,
            int(table["limit_mib"]) * MIB,
            tuple(table["media_types"]),
            bool(table.get("public", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"[buckets.{name}] in the job catalogue is wrong: {error!r}") from error

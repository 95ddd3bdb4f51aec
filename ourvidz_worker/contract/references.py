"""The reference pictures of a payload, in every spelling producers use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ourvidz_worker.contract.catalogue import Bucket, JobType, Range
from ourvidz_worker.contract.fields import Found, Sections, first_in, number, text
from ourvidz_worker.contract.job import FRAME_ROLES, IMAGE_ROLES, Reference, ReferenceRole
from ourvidz_worker.contract.payload_error import PayloadError, shown

STRENGTH = Range(0.1, 1.0)
DEFAULT_STRENGTH = 0.7

FRAMES: Mapping[ReferenceRole, str] = {"start": "a start frame", "end": "an end frame"}

_START_NAMES = ("start_reference_url", "start_reference_image_url", "first_frame")
_END_NAMES = ("end_reference_url", "end_reference_image_url", "last_frame")
_ROLE_SPELLINGS: dict[str, ReferenceRole] = {
    **{role: role for role in (*IMAGE_ROLES, *FRAME_ROLES)},
    "start_frame": "start",
    "first_frame": "start",
    "end_frame": "end",
    "last_frame": "end",
}
# Not a character that two readers of one address could take differently, and nobody's name or password.
_URL = re.compile(r"https?://[^\s/\\@?#\x00-\x1f\x7f]+/[^\s\\\x00-\x1f\x7f]*", re.IGNORECASE)
_BUCKET_PATH = re.compile(r"[A-Za-z0-9_-]+(/[^/\\\x00-\x1f?#]+)+")


def parse_references(
    sections: Sections, job_type: JobType, *, user_id: str, buckets: Mapping[str, Bucket]
) -> tuple[Reference, ...]:
    """All references of a job, at most one per role.

    A path is read with the project's own key, which may read everybody's files; so of a bucket that is not public
    it must lie in the folder of the job's user.

    Raises `PayloadError` for a source that is neither a plain http(s) URL nor a path inside a bucket, somebody
    else's folder, a strength outside 0.1 to 1.0, an unknown role, a frame role on a still, and two references with
    the same role.
    """
    references = [*_named(sections), *_listed(sections)]
    for position, reference in enumerate(references):
        if reference.role in FRAME_ROLES and job_type.media != "video":
            raise PayloadError(reference.field, f"is {FRAMES[reference.role]}, and {job_type.name} makes no video")
        if any(earlier.role == reference.role for earlier in references[:position]):
            raise PayloadError(reference.field, f"is a second {reference.role} reference; send one per type")
        _check_folder(reference, user_id, buckets)
    return tuple(references)


def _check_folder(reference: Reference, user_id: str, buckets: Mapping[str, Bucket]) -> None:
    if "://" in reference.source:
        return
    name, folder, *_ = reference.source.split("/")
    bucket = buckets.get(name)
    if bucket is None:
        raise PayloadError(reference.field, f"must begin with one of {', '.join(buckets)}, got {shown(name)}")
    if not bucket.public and folder != user_id:
        raise PayloadError(reference.field, f"must lie in the job's own folder {name}/{user_id}; send a signed URL")


def _named(sections: Sections) -> Iterator[Reference]:
    strength = sections.first("reference_strength")
    image = sections.first("reference_image_url")
    if image is not None:
        yield _reference(image, _role(sections.first("reference_type"), IMAGE_ROLES), _strength(strength))
    for role, names in zip(FRAME_ROLES, (_START_NAMES, _END_NAMES), strict=True):
        frame = sections.first(*names)
        if frame is not None:
            yield _reference(frame, role, _strength(strength))


def _listed(sections: Sections) -> Iterator[Reference]:
    """Our own extension: `references: [{"type", "url", "strength"}, …]` (contract section 2)."""
    found = sections.first("references")
    if found is None:
        return
    if not isinstance(found.value, list):
        raise PayloadError(found.field, f"must be a list of objects, got {shown(found.value)}")
    for position, entry in enumerate(found.value):
        yield _entry(entry, f"{found.field}[{position}]")


def _entry(entry: Any, field: str) -> Reference:
    if not isinstance(entry, dict):
        raise PayloadError(field, f"must be an object with type, url and strength, got {shown(entry)}")
    source = first_in(entry, ("url",), f"{field}.")
    if source is None:
        raise PayloadError(f"{field}.url", "is missing; give a URL or a path inside a bucket")
    role = _role(first_in(entry, ("type",), f"{field}."), (*IMAGE_ROLES, *FRAME_ROLES))
    return _reference(source, role, _strength(first_in(entry, ("strength",), f"{field}.")))


def _reference(found: Found, role: ReferenceRole, strength: float) -> Reference:
    source = text(found)
    if not _URL.fullmatch(source) and not (_BUCKET_PATH.fullmatch(source) and ".." not in source.split("/")):
        raise PayloadError(
            found.field,
            "must be an http(s) URL without a user name, spaces or backslashes, or a path that begins with its bucket",
        )
    return Reference(role=role, source=source, strength=strength, field=found.field)


def _role(found: Found | None, allowed: tuple[ReferenceRole, ...]) -> ReferenceRole:
    if found is None:
        return "style"
    role = _ROLE_SPELLINGS.get(text(found))
    if role not in allowed:
        raise PayloadError(found.field, f"must be one of {', '.join(allowed)}, got {shown(found.value)}")
    return role


def _strength(found: Found | None) -> float:
    return DEFAULT_STRENGTH if found is None else number(found, STRENGTH)

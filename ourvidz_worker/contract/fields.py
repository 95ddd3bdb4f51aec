"""Reading typed values out of a payload, wherever a producer put them and however it spelled them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ourvidz_worker.contract.catalogue import Range
from ourvidz_worker.contract.payload_error import PayloadError, shown

MAX_PROSE_CHARACTERS = 10_000
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SIZE = re.compile(r"\s*([0-9]{1,5})\s*[*xX\u00d7]\s*([0-9]{1,5})\s*")


@dataclass(frozen=True, slots=True)
class Found:
    """A value and the dotted path it was found at."""

    field: str
    value: Any


@dataclass(frozen=True, slots=True)
class Sections:
    """The three places of a payload where a field may stand, in the order they are looked at."""

    config: Mapping[str, Any]
    metadata: Mapping[str, Any]
    top: Mapping[str, Any]

    def first(self, *names: str) -> Found | None:
        """The first value given under any of these names: `config`, then `metadata`, then the top level."""
        return (
            first_in(self.config, names, "config.")
            or first_in(self.metadata, names, "metadata.")
            or first_in(self.top, names)
        )


def first_in(section: Mapping[str, Any], names: Sequence[str], prefix: str = "") -> Found | None:
    """The first of `names` that has a value in this section; null and "" count as absent."""
    for name in names:
        value = section.get(name)
        if value is not None and value != "":
            return Found(prefix + name, value)
    return None


def section(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object of the payload; null and absence are the empty object (`metadata` can be null)."""
    value = payload.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise PayloadError(name, f"must be an object, got {shown(value)}")
    return value


def text(found: Found) -> str:
    """A string; one that could not be stored or sent on does not get this far (`strict_json`)."""
    if not isinstance(found.value, str):
        raise PayloadError(found.field, f"must be a string, got {shown(found.value)}")
    return found.value


def prose(found: Found) -> str:
    """A text for a model to read."""
    value = text(found)
    if len(value) > MAX_PROSE_CHARACTERS:
        raise PayloadError(found.field, f"has {len(value)} characters; at most {MAX_PROSE_CHARACTERS} are accepted")
    return value


def identifier(found: Found) -> str:
    """An id from outside that will stand in a storage path (contract section 4)."""
    value = text(found)
    if not _IDENTIFIER.fullmatch(value):
        raise PayloadError(found.field, f"may hold only letters, digits, '-' and '_' (at most 128), got {shown(value)}")
    return value


def number(found: Found, allowed: Range) -> float:
    """A number in a range, also as a numeric string. NaN lies in no range; an infinity in no finite one."""
    value = _spelled(found.value, float)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PayloadError(found.field, f"must be a number, got {shown(found.value)}")
    if value not in allowed:
        raise PayloadError(found.field, f"must be {allowed}, got {shown(found.value)}")
    return float(value)


def whole(found: Found, allowed: Range) -> int:
    """A whole number in a range, also as a numeric string or as 42.0; exact beyond 2**53."""
    value = _spelled(_spelled(found.value, int), float)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise PayloadError(found.field, f"must be a whole number, got {shown(found.value)}")
    if value not in allowed:
        raise PayloadError(found.field, f"must be {allowed}, got {shown(found.value)}")
    return value


def _spelled(value: Any, kind: Callable[[str], float]) -> Any:
    """The number that a numeric string spells; Python's `1_000` and other scripts' digits are no producer's."""
    if isinstance(value, str) and value.isascii() and "_" not in value:
        try:
            return kind(value)
        except ValueError:
            pass
    return value


def size(found: Found) -> tuple[int, int]:
    """`480*832` or `1024x576`: width, then height, in pixels (contract section 2)."""
    match = _SIZE.fullmatch(found.value) if isinstance(found.value, str) else None
    if match is None:
        raise PayloadError(found.field, f"must be like '480*832' or '1024x1024', got {shown(found.value)}")
    return int(match[1]), int(match[2])


def moment(found: Found) -> datetime:
    """A time as ISO 8601 text or seconds since 1970; UTC where no zone is given."""
    try:
        if isinstance(found.value, str):
            value = datetime.fromisoformat(found.value)
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(found.value, int | float) and not isinstance(found.value, bool):
            return datetime.fromtimestamp(found.value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise PayloadError(found.field, f"must be an ISO 8601 time, got {shown(found.value)}")

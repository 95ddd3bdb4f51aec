"""The hosts that references may be fetched from, as an operator lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label is no number: `127.1` is an address.
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?")
_LONGEST = 253


def parse_hosts(listed: str) -> tuple[str, ...]:
    """`cdn.example.com, *.example.org` as host patterns; raises `ValueError` that names each wrong entry."""
    hosts = tuple(entry.strip().lower() for entry in listed.split(",") if entry.strip())
    wrong = [host for host in hosts if not _NAME.fullmatch(host) or len(host) > _LONGEST]
    if wrong:
        raise ValueError(
            f"{', '.join(map(repr, wrong))} cannot be allowed; name hosts like cdn.example.com or *.example.com, "
            "without scheme, port or path"
        )
    return hosts


def matches(host: str, patterns: Sequence[str]) -> bool:
    """Whether a host is listed, or lies at any depth below a `*.` entry."""
    if not _NAME.fullmatch(host):
        return False
    return any(host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern for pattern in patterns)

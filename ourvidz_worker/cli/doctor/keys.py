"""Whether the keys are those of a service, told from their form alone."""

from __future__ import annotations

import binascii
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, note, problem

_CURE = "set SUPABASE_SERVICE_KEY to the service role key of the project (Settings, API keys)"


def examine_service_key(key: str, url: str) -> Iterator[Diagnosis]:
    """Supabase's keys are JWTs that name their role and project, or begin with what they are (its API keys guide)."""
    if key.startswith("sb_secret_"):
        yield good("keys", "the service key is a secret key")
        return
    if key.startswith("sb_publishable_"):
        yield problem(
            "keys", "SUPABASE_SERVICE_KEY holds a publishable key, which may do nothing of what a worker does", _CURE
        )
        return
    claims = _claims(key)
    if claims is None:
        yield note("keys", "SUPABASE_SERVICE_KEY is neither a JWT nor a secret key", _CURE)
        return
    found = list(_problems(claims, url))
    yield from found or [good("keys", "the service key is one of the role service_role")]


def _problems(claims: dict[str, Any], url: str) -> Iterator[Diagnosis]:
    role, project, expires = claims.get("role"), claims.get("ref"), claims.get("exp")
    if role != "service_role":
        shown = str(role)[:40]
        yield problem("keys", f"SUPABASE_SERVICE_KEY has the role {shown}, and a worker needs service_role", _CURE)
    host = urlsplit(url).hostname or ""
    if isinstance(project, str) and host.endswith(".supabase.co") and host != f"{project}.supabase.co":
        sentence = f"SUPABASE_SERVICE_KEY belongs to the project {project[:40]}, and SUPABASE_URL to another"
        yield problem("keys", sentence, "set both to the same project")
    if isinstance(expires, int | float) and expires < time.time():
        yield problem("keys", "SUPABASE_SERVICE_KEY has expired, or this machine's clock is wrong", _CURE)


def _claims(key: str) -> dict[str, Any] | None:
    """Not verified: that is Supabase's to do, which has the secret."""
    parts = key.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None

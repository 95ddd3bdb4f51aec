"""Other people's words inside our error sentences: short, on one line, without our secrets."""

from __future__ import annotations

_SHOWN = 300


def quoted(text: str, *secrets: str) -> str:
    """`text` as it may be shown to a person; a secret that a server echoed is starred out."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

"""Secrets that a test planted, and a search for them in everything that was written."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

_TELLING = 12  # so many characters of a secret in a row are no coincidence
_JWT = re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}")


class Planted:
    """Secrets by name; of a JWT only the signature counts, for tokens of one issuer begin alike."""

    def __init__(self, **secrets: str) -> None:
        self._pieces = {name: _pieces(secret) for name, secret in secrets.items()}

    def found_in(self, text: str | bytes) -> set[str]:
        """The names of the secrets of which a telling piece stands in a text, in any usual spelling."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        return {name for name, pieces in self._pieces.items() if any(piece in text for piece in pieces)}

    def found_below(self, folder: Path) -> Mapping[str, set[str]]:
        """The same for all files of a folder, and for their names."""
        found = {str(path): self.found_in(str(path)) for path in folder.rglob("*")}
        for path in folder.rglob("*"):
            if path.is_file():
                found[str(path)] |= self.found_in(path.read_bytes())
        return {path: names for path, names in found.items() if names}


def tokens_in(text: str) -> list[str]:
    """Everything that looks like a JWT, whoever's it is."""
    return _JWT.findall(text)


def _pieces(secret: str) -> set[str]:
    told = secret.rpartition(".")[2] if _JWT.match(secret) else secret
    encoded = base64.b64encode(told.encode()).decode().rstrip("=")[:-1]
    spellings = {told, json.dumps(told)[1:-1], quote(told, safe=""), encoded}
    return {
        spelling[start : start + _TELLING]
        for spelling in spellings
        for start in range(max(1, len(spelling) - _TELLING + 1))
    }

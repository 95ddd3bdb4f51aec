"""A rewritten prompt, and all there is to say about it."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

_CHARACTERS_PER_TOKEN = 4.2  # the product's own estimate for English


@dataclass(frozen=True, slots=True)
class Enhanced:
    """`attempts` counts the answers it took, 0 for one from the cache; `compressed` says that it was shortened."""

    original: str
    enhanced: str
    template: str
    template_version: str
    language: str
    model: str
    seed: int
    seconds: float
    attempts: int
    compressed: bool = False
    cache_hit: bool = False

    @property
    def token_count(self) -> int:
        return estimated_tokens(self.enhanced)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text encoder makes of a text: a Han character is one, of other letters it takes some."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return wide + math.ceil((len(text) - wide) / _CHARACTERS_PER_TOKEN)

"""The order of eviction: what a job seldom needs first, and what every job needs last.

As `shared/models.md` has it: adapters, then the language model, then the text encoder whose embeddings are kept.
"""

from __future__ import annotations

from enum import IntEnum


class Rank(IntEnum):
    """The lowest goes first; within a rank, what was not used for longest."""

    ADAPTER = 0
    LANGUAGE = 1
    TEXT_ENCODER = 2
    CORE = 3

"""Text embeddings are kept: the negative prompt is the same in every job, and users repeat themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Embedding = TypeVar("Embedding")


class EmbeddingCache(Generic[Embedding]):
    """Encodes a text at most once while it is among the `capacity` texts used last."""

    def __init__(self, encode: Callable[[str], Embedding], capacity: int = 32) -> None:
        self._encode = encode
        self._capacity = capacity
        self._kept: OrderedDict[str, Embedding] = OrderedDict()

    def get(self, text: str) -> Embedding:
        if text not in self._kept:
            self._kept[text] = self._encode(text)
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]

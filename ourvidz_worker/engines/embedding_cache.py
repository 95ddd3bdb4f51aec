"""Embeddings are kept: the negative prompt is the same in every job, and users repeat themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Embedding = TypeVar("Embedding")


class RecentlyUsed(Generic[Key, Value]):
    """What was made for a key, while that is among the `capacity` keys used last."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        if key not in self._kept:
            self._kept[key] = make()
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


class EmbeddingCache(Generic[Embedding]):
    """Encodes a text at most once while it is among the `capacity` texts used last."""

    def __init__(self, encode: Callable[[str], Embedding], capacity: int = 32) -> None:
        self._encode = encode
        self._kept: RecentlyUsed[str, Embedding] = RecentlyUsed(capacity)

    def get(self, text: str) -> Embedding:
        return self._kept.get(text, lambda: self._encode(text))

"""Embeddings are kept: the negative prompt is the same in every job, and users repeat themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
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
            self.keep(key, make())
        self._kept.move_to_end(key)
        return self._kept[key]

    def find(self, key: Key) -> Value | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: Key, value: Value) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)


class EmbeddingCache(Generic[Embedding]):
    """Encodes a text at most once while it is among the `capacity` texts used last; callable from any thread.

    Pinned texts, which are the negative prompts, have room of their own, so that no number of prompts pushes them
    out. One text is encoded at a time: neither tokenizers nor text encoders bear two threads.
    """

    def __init__(self, encode: Callable[[str], Embedding], capacity: int = 32, *, pinned: int = 16) -> None:
        self._encode = encode
        self._passing: RecentlyUsed[str, Embedding] = RecentlyUsed(capacity)
        self._pinned: RecentlyUsed[str, Embedding] = RecentlyUsed(pinned)
        self._looking = Lock()
        self._encoding = Lock()

    def get(self, text: str, *, pinned: bool = False) -> Embedding:
        """What is kept is there at once, also while another text is encoded."""
        kept = self._find(text, pinned=pinned)
        if kept is not None:
            return kept
        with self._encoding:
            kept = self._find(text, pinned=pinned)  # it may just have been encoded for somebody else
            if kept is None:
                kept = self._encode(text)
                self._keep(text, kept, pinned=pinned)
        return kept

    def _find(self, text: str, *, pinned: bool) -> Embedding | None:
        with self._looking:
            held, passing = self._pinned.find(text), self._passing.find(text)
            if held is None and passing is not None and pinned:
                self._pinned.keep(text, passing)
            return passing if held is None else held

    def _keep(self, text: str, embedding: Embedding, *, pinned: bool) -> None:
        with self._looking:
            (self._pinned if pinned else self._passing).keep(text, embedding)

"""A step whose first block changes little repeats what the other blocks did in the last one.

The idea is ParaAttention's First Block Cache. Diffusers has it, too, but lets VACE add its hints once more to what was
repeated with them, and keeps no two passes apart in the video-to-video pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(slots=True)
class _Memory:
    """What one of the two passes of a step did when it was last computed in full."""

    change: torch.Tensor | None = None
    """By the first block."""
    rest: torch.Tensor | None = None
    """By all the others together."""


class FirstBlockCache:
    """Wraps the blocks of a WAN or VACE transformer; of use within `run` only, where passes are remembered.

    `threshold` is the mean change of the first block's work against the last full pass, relative to its size, below
    which the rest is repeated. Blocks are wrapped and not hooked, so that they can be compiled by themselves.
    """

    def __init__(self, transformer: Any, threshold: float) -> None:
        self.passes = self.repeated = 0
        self._threshold = threshold
        self._memories: dict[int, _Memory] | None = None
        self._memory: _Memory | None = None
        self._first: torch.Tensor | None = None
        self._repeats = False
        first, *others = transformer.blocks
        if others:  # with a single block there is nothing to repeat
            *middle, last = others
            wrapped = [_First(first, self), *(_Middle(block, self) for block in middle), _Last(last, self)]
            transformer.blocks = nn.ModuleList(wrapped)
            transformer.register_forward_pre_hook(self._begin, with_kwargs=True)

    @contextmanager
    def run(self) -> Iterator[None]:
        """One generation: nothing is known of another one's passes, whether it came to its end or not."""
        self.passes = self.repeated = 0
        self._memories = {}
        try:
            yield
        finally:
            self._memories = self._memory = self._first = None
            self._repeats = False

    @property
    def repeats(self) -> bool:
        return self._repeats

    def judge(self, before: torch.Tensor, after: torch.Tensor) -> None:
        """The first block's work is done: is the rest to be repeated?"""
        memory = self._memory
        if memory is None:
            return
        change = after - before
        self._first = after
        self.passes += 1
        self._repeats = memory.rest is not None and self._is_alike(change, memory.change)
        if self._repeats:
            self.repeated += 1
        else:
            memory.change = change

    def repeated_rest(self) -> torch.Tensor:
        assert self._first is not None
        assert self._memory is not None
        assert self._memory.rest is not None
        return self._first + self._memory.rest

    def learn(self, output: torch.Tensor) -> None:
        if self._memory is not None and self._first is not None:
            self._memory.rest = output - self._first

    def _begin(self, _module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        """A pass is told by its prompt: the pipeline hands in the same tensor in every step."""
        if self._memories is not None:
            self._memory = self._memories.setdefault(id(kwargs["encoder_hidden_states"]), _Memory())

    def _is_alike(self, change: torch.Tensor, last: torch.Tensor | None) -> bool:
        """Waits for the card: what is launched next depends on it."""
        assert last is not None
        return bool((change - last).abs().mean() < self._threshold * last.abs().mean())


class _Wrapped(nn.Module):
    def __init__(self, block: nn.Module, cache: FirstBlockCache) -> None:
        super().__init__()
        self.block = block
        self._cache = cache


class _First(_Wrapped):
    def forward(self, hidden_states: torch.Tensor, *others: Any) -> torch.Tensor:
        output: torch.Tensor = self.block(hidden_states, *others)
        self._cache.judge(hidden_states, output)
        return output


class _Middle(_Wrapped):
    def forward(self, hidden_states: torch.Tensor, *others: Any) -> torch.Tensor:
        output: torch.Tensor = hidden_states if self._cache.repeats else self.block(hidden_states, *others)
        return output


class _Last(_Wrapped):
    """What comes in from a repeated pass is dropped: VACE's hints are in the repeated rest already."""

    def forward(self, hidden_states: torch.Tensor, *others: Any) -> torch.Tensor:
        if self._cache.repeats:
            return self._cache.repeated_rest()
        output: torch.Tensor = self.block(hidden_states, *others)
        self._cache.learn(output)
        return output

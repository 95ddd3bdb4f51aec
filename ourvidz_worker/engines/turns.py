"""Models are loaded while none computes, and compute while none is loaded, each in whatever thread it likes.

While diffusers, accelerate and transformers build a model they change things for the whole process: PyTorch's default
dtype, its initialisers, and how modules register their weights. A generation in another thread would draw with that
dtype, and a second model would be built without its weights.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Own(threading.local):
    """How deep this thread is in blocks that compute, and in blocks that load."""

    computing = 0
    loading = 0


class Turns:
    """A lock that many hold to compute, and one alone to load; whoever loads goes first.

    Blocks may be nested. Computing within loading is part of it; loading within computing gives way to others first.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._computing = 0
        self._loading = False
        self._loaders = 0
        self._own = _Own()

    @contextmanager
    def computing(self) -> Iterator[None]:
        own = self._own
        outermost = own.computing == 0 and own.loading == 0
        if outermost:
            self._begin_computing()
        own.computing += 1
        try:
            yield
        finally:
            own.computing -= 1
            if outermost:
                self._end_computing()

    @contextmanager
    def loading(self) -> Iterator[None]:
        own = self._own
        if own.loading == 0:
            if own.computing:
                self._end_computing()
            self._begin_loading()
        own.loading += 1
        try:
            yield
        finally:
            own.loading -= 1
            if own.loading == 0:
                self._end_loading()
                if own.computing:
                    self._begin_computing()

    def give_way(self) -> None:
        """Between two steps: let a model be loaded that waits for the end of what may take minutes."""
        if self._loaders:
            with self.paused():
                pass

    @contextmanager
    def paused(self) -> Iterator[None]:
        """This thread does not compute within, even where it is in a block that does."""
        computes = self._own.computing > 0 and not self._own.loading
        if computes:
            self._end_computing()
        try:
            yield
        finally:
            if computes:
                self._begin_computing()

    def _begin_computing(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._loaders)
            self._computing += 1

    def _end_computing(self) -> None:
        with self._changed:
            self._computing -= 1
            self._changed.notify_all()

    def _begin_loading(self) -> None:
        with self._changed:
            self._loaders += 1
            self._changed.wait_for(lambda: not self._computing and not self._loading)
            self._loading = True

    def _end_loading(self) -> None:
        with self._changed:
            self._loaders -= 1
            self._loading = False
            self._changed.notify_all()


TURNS = Turns()
"""Of this process, whose libraries know only one."""

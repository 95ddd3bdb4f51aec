"""Starting without garbage collections: what is imported and built then stays, and is looked through in vain."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Iterator[None]:
    """Once the block ends, what it made is left out of every later collection, too.

    A fifth of an import of the model libraries and a quarter of a command's start would go into collections.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()

"""What goes wrong with adapter files, as one sentence about the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ourvidz_worker.engines.devices import is_poisoned
from ourvidz_worker.errors import AdapterUnusable


@contextmanager
def fitting_file(path: Path, what: str) -> Iterator[None]:
    """Whatever a loader raises over a file that is not `what` becomes `AdapterUnusable`.

    A lack of memory and a broken CUDA context are not the file's fault and pass.
    """
    try:
        yield
    except (AdapterUnusable, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and is_poisoned(error):
            raise
        raise AdapterUnusable(f"{path} cannot be used as {what} ({_reason(error)}); replace it") from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), 'no message')[:200]}"

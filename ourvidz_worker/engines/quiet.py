"""Model libraries say nothing on a terminal: progress and problems are reported by the worker itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import diffusers
import transformers


def quieten_model_libraries() -> None:
    """Silence the progress bars and all but the errors of diffusers and transformers.

    To be called before their models are imported, because some speak while they are.
    """
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


@contextmanager
def numpy_conversions_quiet() -> Iterator[None]:
    """Schedulers call `np.array` on a tensor, whose `__array__` lacks NumPy 2's `copy` keyword.

    The result is right; only torch can end the warning.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        yield

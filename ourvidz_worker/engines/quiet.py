"""Model libraries say nothing on a terminal: progress and problems are reported by the worker itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import transformers


def quieten_model_libraries() -> None:
    """Silence the progress bars and all but the errors of diffusers and transformers.

    To be called before their models are imported, because some speak while they are.
    """
    import diffusers  # noqa: PLC0415 - the language worker does without it

    quieten_transformers()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()


def quieten_transformers() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def numpy_conversions_quiet() -> Iterator[None]:
    """Schedulers call `np.array` on a tensor, whose `__array__` lacks NumPy 2's `copy` keyword.

    The result is right; only torch can end the warning.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        yield

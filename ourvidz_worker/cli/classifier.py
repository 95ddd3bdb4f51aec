"""The operator's picture classifier, imported by name."""

from __future__ import annotations

from importlib import import_module

from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import PictureClassifier

_CURE = "name a function, or a class without arguments, that this Python can import"


def load_classifier(name: str) -> PictureClassifier:
    """`package.module:name` names a function, or a class that is built here without arguments.

    Raises `ConfigurationError` when there is nothing that can be called.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
        classifier: PictureClassifier = found() if isinstance(found, type) else found
    except Exception as error:
        why = f"{type(error).__name__}, {error}"
        raise ConfigurationError(f"OURVIDZ_PICTURE_CLASSIFIER={name} cannot be loaded ({why}): {_CURE}") from error
    if not callable(classifier):
        raise ConfigurationError(f"OURVIDZ_PICTURE_CLASSIFIER={name} cannot be called, it is {classifier!r}: {_CURE}")
    return classifier

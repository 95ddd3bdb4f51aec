"""Reading the environment once, with every problem in a sentence of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings.qwen import QwenSettings
from ourvidz_worker.settings.roster import RosterSettings
from ourvidz_worker.settings.values import WHOLE_SENTENCE
from ourvidz_worker.settings.volume import VolumeSettings
from ourvidz_worker.settings.worker import Settings

AnySettings = TypeVar("AnySettings", bound=VolumeSettings)

_UNREPEATED = (
    "OURVIDZ_QWEN_TOKEN",
    "OURVIDZ_LANGUAGE_MODEL_KEY",
    "OURVIDZ_LANGUAGE_MODEL_URL",
    "OURVIDZ_ENHANCER_URL",
    "OURVIDZ_C2PA_TIMESTAMP_URL",
    "OURVIDZ_STATUS_URL",
    "OURVIDZ_QUEUE_URL",
    "OURVIDZ_STORE_URL",
    "OURVIDZ_REPORT_URL",
)


def pod_settings() -> type[QwenSettings]:
    """Which settings the workers of the pod need: a pod of the language worker alone has no backend."""
    try:
        alone = RosterSettings().workers == ("qwen",)
    except ValidationError:  # to be told of together with everything else that is wrong
        alone = False
    return QwenSettings if alone else Settings


def load_settings() -> Settings:
    """Read the environment; raises `ConfigurationError` with one sentence per wrong or missing variable."""
    return read_settings(Settings)


def read_settings(kind: type[AnySettings], given: Mapping[str, Any] | None = None) -> AnySettings:
    """As `load_settings`, for a process that needs these; what is `given`, by variable, goes over the environment."""
    try:
        return kind(**(given or {}))
    except ValidationError as error:
        sentences = (_sentence(dict(problem)) for problem in error.errors())
        raise ConfigurationError([line for sentence in sentences for line in sentence.splitlines()]) from None


def _sentence(problem: dict[str, Any]) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == WHOLE_SENTENCE:
        return str(problem["msg"])
    reason = str(problem["msg"]).removeprefix("Value error, ")
    # The product's variables hold secrets and addresses, and so do some of our own.
    told = name.startswith("OURVIDZ_") and name not in _UNREPEATED
    given = f", got {problem['input']!r}" if told else ""
    return f"{name} is wrong: {reason[:1].lower()}{reason[1:]}{given}"

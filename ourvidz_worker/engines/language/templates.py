"""The texts of `configs/prompts/`: how prompts are rewritten, and WAN's own negative prompt."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.errors import ConfigurationError

REWRITING = ("sdxl_image", "wan_image", "wan_video")
WAN_NEGATIVE = "wan_negative"


@dataclass(frozen=True, slots=True)
class Template:
    """What the language model is told, and how long its answer may be, in characters."""

    system: str
    max_characters: int


class Templates:
    """One rewriting template per model family and medium."""

    def __init__(self, prompts: Mapping[str, str]) -> None:
        """Parse the texts by name; raises `ConfigurationError` naming each template that is missing or wrong."""
        self._templates: dict[str, Template] = {}
        problems: list[str] = []
        for name in REWRITING:
            try:
                self._templates[name] = _template(prompts, name)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)

    def for_type(self, job_type: JobType) -> Template:
        return self._templates[f"{job_type.model_family}_{job_type.media}"]


def wan_negative(prompts: Mapping[str, str]) -> str:
    """The negative prompt that WAN was published with; raises `ConfigurationError` when it is missing."""
    return _text(prompts, WAN_NEGATIVE, "txt")


def _template(prompts: Mapping[str, str], name: str) -> Template:
    try:
        table = tomllib.loads(_text(prompts, name, "toml"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"prompts/{name}.toml is not valid TOML: {error}") from error
    system, longest = table.get("system"), table.get("max_characters")
    if set(table) != {"system", "max_characters"} or not isinstance(system, str) or not system.strip():
        raise ConfigurationError(
            f"prompts/{name}.toml holds {', '.join(table) or 'nothing'}; it must hold a text `system` and a "
            "number `max_characters`"
        )
    if not isinstance(longest, int) or isinstance(longest, bool) or longest < 1:
        raise ConfigurationError(
            f"max_characters = {longest!r} in prompts/{name}.toml is wrong: it must be a whole number above 0"
        )
    return Template(system.strip(), longest)


def _text(prompts: Mapping[str, str], name: str, ending: str) -> str:
    text = prompts.get(name, "").strip()
    if not text:
        raise ConfigurationError(f"prompts/{name}.{ending} is missing or empty; restore it in the config folder")
    return text

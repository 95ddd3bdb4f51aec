"""The texts of `configs/prompts/`: how prompts are rewritten and scripts divided, and WAN's own negative prompt."""

from __future__ import annotations

import hashlib
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.errors import BadJob, ConfigurationError

REWRITING = ("sdxl_image", "wan_image", "wan_video")
STORYBOARD = "storyboard"
WAN_NEGATIVE = "wan_negative"

_STORYBOARD_WORDS = {"scenes", "seconds"}
_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Template:
    """What the language model is told in one language, and how long a prompt may be, in characters.

    `correction` is what it is told after an answer that cannot be used.
    """

    name: str
    language: str
    system: str
    max_characters: int
    correction: str = ""

    @property
    def version(self) -> str:
        """Another text is another template."""
        text = "\0".join((self.system, self.correction, str(self.max_characters)))
        return hashlib.sha256(text.encode()).hexdigest()[:_VERSION_DIGITS]


class Templates:
    """One rewriting template per model family and medium, and one for storyboards, each in one or more languages."""

    def __init__(self, prompts: Mapping[str, str]) -> None:
        """Parse the texts by name; raises `ConfigurationError` naming each template that is missing or wrong."""
        self._files: dict[str, _File] = {}
        problems: list[str] = []
        for name in (*REWRITING, STORYBOARD):
            try:
                self._files[name] = _File.parse(prompts, name)
            except ConfigurationError as error:
                problems += error.problems
        if problems:
            raise ConfigurationError(problems)

    def rewriting(self, job_type: JobType, language: str | None = None) -> Template:
        """The template of a job type; raises `BadJob` for a language that it is not written for."""
        return self._files[f"{job_type.model_family}_{job_type.media}"].template(language)

    def storyboard(self, *, scenes: str, seconds: str, language: str | None = None) -> Template:
        """The template for so many scenes of at most so many seconds; raises `BadJob` as `rewriting` does."""
        return self._files[STORYBOARD].template(language, scenes=scenes, seconds=seconds)


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    system: str
    max_characters: int
    language: str
    languages: Mapping[str, str]
    correction: str

    @classmethod
    def parse(cls, prompts: Mapping[str, str], name: str) -> _File:
        try:
            table = tomllib.loads(_text(prompts, name, "toml"))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"prompts/{name}.toml is not valid TOML: {error}") from error
        if problems := list(_problems(table, name)):
            raise ConfigurationError(problems)
        return cls(
            name,
            table["system"].strip(),
            table["max_characters"],
            table["language"],
            table["languages"],
            table.get("correction", "").strip(),
        )

    def template(self, language: str | None, **words: str) -> Template:
        chosen = self.language if language is None else language
        if chosen not in self.languages:
            known = ", ".join(self.languages)
            raise BadJob(f"language must be one of {known} for {self.name}, got {chosen[:40]!r}", field="language")
        system = f"{self.system}\n{self.languages[chosen].strip()}"
        if words:
            system = string.Template(system).substitute(words)
        return Template(self.name, chosen, system, self.max_characters, self.correction)


def wan_negative(prompts: Mapping[str, str]) -> str:
    """The negative prompt that WAN was published with; raises `ConfigurationError` when it is missing."""
    return _text(prompts, WAN_NEGATIVE, "txt")


def _problems(table: Mapping[str, Any], name: str) -> Iterator[str]:
    file = f"prompts/{name}.toml"
    texts = ("system", "language", *(("correction",) if name == STORYBOARD else ()))
    if unknown := set(table) - {*texts, "max_characters", "languages"}:
        yield f"{file} has unknown keys: {', '.join(sorted(unknown))}"
    for key in texts:
        if not isinstance(table.get(key), str) or not table[key].strip():
            yield f"{key} in {file} must be a text, got {table.get(key)!r}"
    longest = table.get("max_characters")
    if not isinstance(longest, int) or isinstance(longest, bool) or longest < 1:
        yield f"max_characters = {longest!r} in {file} is wrong: it must be a whole number above 0"
    languages = table.get("languages")
    if not isinstance(languages, dict) or not all(
        isinstance(text, str) and text.strip() for text in languages.values()
    ):
        yield f"{file} needs a table [languages] with a text for each language"
    elif table.get("language") not in languages:
        yield f"language = {table.get('language')!r} in {file} is not in its table [languages]"
    elif name == STORYBOARD and isinstance(table.get("system"), str):
        yield from _wrong_words(f"{table['system']}\n{' '.join(languages.values())}", file)


def _wrong_words(text: str, file: str) -> Iterator[str]:
    template = string.Template(text)
    if not template.is_valid() or set(template.get_identifiers()) != _STORYBOARD_WORDS:
        yield f"{file} must use $scenes and $seconds, no other such word, and write $$ for a dollar sign"


def _text(prompts: Mapping[str, str], name: str, ending: str) -> str:
    text = prompts.get(name, "").strip()
    if not text:
        raise ConfigurationError(f"prompts/{name}.{ending} is missing or empty; restore it in the config folder")
    return text

"""One file of the rules: which tables and lists it may have, checked.

What each list means is at the top of `configs/policy/english.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

RuleFile = Mapping[str, Any]

_TERMS = (
    "forbidden",
    "sexual",
    "minor",
    "not_minor",
    "young",
    "youth",
    "not_sexual",
    "setting",
    "place",
    "adult",
    "grown",
    "denied",
    "harmless",
)
AGES = (
    "years",
    "maybe_years",
    "months",
    "maybe_months",
    "weeks",
    "days",
    "grades",
    "maybe_grades",
    "under",
    "over",
    "born",
    "cohort",
    "elapsed",
    "counted",
)
OPERATORS = ("plus", "minus", "from", "times", "divided", "range")
GROUPS = ("animals", "month_names")
HELPERS = ("about", "things", "measures", "stops", "joiners", "words", "apart")
_LISTS: Mapping[str, tuple[str, ...]] = {
    "words": _TERMS,
    "words_in_context": (*_TERMS, "markers"),
    "ordinary": ("words", "apart"),
    "slips": ("kinds",),
    "groups": GROUPS,
    "ages": (*AGES, "about", "things", "measures", "stops"),
    "arithmetic": (*OPERATORS, "joiners"),
    "inflection": ("beginnings", "endings"),
}
_MAPS: Mapping[str, type] = {
    "numbers": int,
    "bound_numbers": int,
    "factors": float,
    "units": int,
    "eras": int,
    "lookalikes": str,
    "leet": str,
}


def parse_rule_file(text: str, number: int) -> RuleFile:
    """The tables of TOML `text`; `number` is its place among the files.

    Raises `ValueError` naming the table and key that is unknown or malformed.
    """
    try:
        file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"policy file {number} is not TOML: {error}") from error
    for table, content in file.items():
        if table not in _LISTS and table not in _MAPS:
            known = ", ".join([*_LISTS, *_MAPS])
            raise ValueError(f"policy file {number} has an unknown table [{table}]; known are {known}")
        if not isinstance(content, dict):
            raise ValueError(f"policy file {number}: {table} must be a table, not {content!r}")  # noqa: TRY004
        for key, value in content.items():
            _check_entry(number, table, key, value)
    return file


def _check_entry(number: int, table: str, key: str, value: object) -> None:
    if table in _LISTS:
        if key not in _LISTS[table]:
            raise ValueError(f"policy file {number} has an unknown key [{table}] {key}; use {', '.join(_LISTS[table])}")
        if not isinstance(value, list) or not all(isinstance(phrase, str) and phrase.strip() for phrase in value):
            raise ValueError(f"policy file {number}: [{table}] {key} must be a list of phrases, not {value!r}")
    elif not isinstance(value, _MAPS[table]) or isinstance(value, bool):
        raise ValueError(
            f"policy file {number}: [{table}] {key} must be of type {_MAPS[table].__name__}, not {value!r}"
        )

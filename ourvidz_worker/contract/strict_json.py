"""JSON from strangers: a value that two readers would take differently is found, never guessed at."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.contract.payload_error import shown

MAX_DEPTH = 64
_PLAIN_NAME = re.compile(r"\w{1,40}", re.ASCII)
# UTF-8 carries no half of a surrogate pair, and PostgreSQL no NUL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# Possessive, and content with an unfinished string, so that no text takes more than one pass.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
# Stands for what is nested too deeply; as a number of a producer's it would be refused, too.
_TOO_DEEP = "1e99999999999999999999"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Stands in a decoded document for a value that cannot be taken as it is written."""

    problem: str


def decode(text: str) -> Any:
    """The document in a text, with a `Flaw` in place of each value that is no clear one.

    Those are NaN and the infinities, numbers beyond what a double holds, a key given twice, and whatever is
    nested more than `MAX_DEPTH` levels deep, which is not decoded at all. Raises `ValueError` with the reason
    when the text is not JSON.
    """
    shallow = _shallow(text)
    try:
        return json.loads(
            shallow, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
        )
    except ValueError as error:
        problem = f"is not JSON: {error}" if shallow is text else _too_deep().problem
        raise ValueError(problem) from None


def flaws(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The dotted path and the problem of each `Flaw`, and of each text or key that cannot be stored or sent on."""
    if isinstance(value, Flaw):
        yield path, value.problem
    elif isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield path, "holds a NUL character or half of a surrogate pair; send plain text"
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{_name(key)}" if path else _name(key)
            if _UNSTORABLE.search(key):
                yield inner, "has a name with a NUL character or half of a surrogate pair; send plain text"
            yield from flaws(item, inner)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from flaws(item, f"{path}[{position}]")


def _shallow(text: str) -> str:
    """The text itself, or a copy with a mark in place of each value that is nested too deeply.

    Brackets that do not match need no care: whatever stands behind the first of them is not decoded.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return text
    kept: list[str] = []
    start = depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += text[start : token.start()], f" {_TOO_DEEP} "
                start = len(text)
        elif token[0] in ("]", "}"):
            if depth == MAX_DEPTH + 1:
                start = token.end()
            depth -= 1
    return "".join((*kept, text[start:])) if kept else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                members[key] = Flaw("is given twice; send it once")
            seen.add(key)
    return members


def _integer(digits: str) -> int | Flaw:
    return int(digits) if math.isfinite(float(digits)) else _too_large(digits)


def _number(digits: str) -> float | Flaw:
    if digits == _TOO_DEEP:
        return _too_deep()
    number = float(digits)
    return number if math.isfinite(number) else _too_large(digits)


def _constant(name: str) -> Flaw:
    return Flaw(f"is {name}, which is no number in JSON")


def _too_large(digits: str) -> Flaw:
    return Flaw(f"is a number larger than a double holds, got {shown(digits)}")


def _too_deep() -> Flaw:
    return Flaw(f"is nested more than {MAX_DEPTH} levels deep; a job needs a few")


def _name(key: str) -> str:
    """A producer's key as it may appear in a path: short, and without control characters."""
    return key if _PLAIN_NAME.fullmatch(key) else shown(key)

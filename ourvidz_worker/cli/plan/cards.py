"""`cards.toml`: what cards cost, hold and do."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.errors import ConfigurationError

NEEDS = ("sdxl", "wan", "language")
_NUMBERS = ("memory_gb", "fp16_tflops", "usd_per_hour", "speed")


@dataclass(frozen=True, slots=True)
class RentedCard:
    """`speed` against the card that the catalogue's seconds are for."""

    key: str
    name: str
    memory_gb: float
    usd_per_hour: float
    speed: float


@dataclass(frozen=True, slots=True)
class CardList:
    """`needs_gb` says what the largest stage of SDXL, WAN and the language model takes of a card."""

    cards: Mapping[str, RentedCard]
    reference: RentedCard
    needs_gb: Mapping[str, float]


def parse_cards(text: str, file: str) -> CardList:
    """Raises `ConfigurationError` with every problem, each naming the `file` and the card."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from None
    problems = [f"{file}: {problem}" for problem in _problems(document)]
    if problems:
        raise ConfigurationError(problems)
    tables = document["cards"]
    unit = tables[document["reference"]]["fp16_tflops"]
    cards = {key: _card(key, table, unit) for key, table in tables.items()}
    return CardList(cards, cards[document["reference"]], document["needs_gb"])


def _card(key: str, table: Mapping[str, Any], unit: float) -> RentedCard:
    speed = table.get("speed", table["fp16_tflops"] / unit)
    return RentedCard(key, table["name"], table["memory_gb"], table["usd_per_hour"], speed)


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    cards = document.get("cards")
    if not isinstance(cards, dict) or not cards:
        yield "has no table [cards.NAME]"
        return
    if document.get("reference") not in cards:
        yield f"reference must name one of its cards, got {document.get('reference')!r}"
    needs = document.get("needs_gb", {})
    for name in NEEDS:
        if not isinstance(needs, dict) or not _is_amount(needs.get(name)):
            yield f"needs_gb.{name} must be a number above 0"
    for key, table in cards.items():
        if not isinstance(table, dict):
            yield f"cards.{key} must be a table"
            continue
        if not isinstance(table.get("name"), str):
            yield f"cards.{key}.name must be a text"
        for name in _NUMBERS:
            if (name in table or name != "speed") and not _is_amount(table.get(name)):
                yield f"cards.{key}.{name} must be a number above 0, got {table.get(name)!r}"


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0

"""What tests ask of the models lies between chance and what was measured, so that it can fail and need not."""

from __future__ import annotations

import json

import pytest

from scripts.demo_models.proof import REPORTS
from tests.demo_models.expected import LEAST, MARGIN


@pytest.mark.parametrize("name", LEAST)
def test_what_is_asked_lies_between_chance_and_what_was_measured(name: str) -> None:
    report = json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))
    for attribute, least in LEAST[name].items():
        row = report["adherence"][attribute]
        assert row["chance"] / 100 + MARGIN <= least <= row["percent"] / 100 - MARGIN, attribute

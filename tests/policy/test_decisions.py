"""What the adults-only gate decides, over corpora kept beside this file as data and made from terms and techniques."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.policy import corpus
from tests.policy.corpus import Decision

# By held-out set: decisions that should refuse and do not, and that should pass and do not; named in the README.
KNOWN_MISSES = {"heldout": (0, 0), "heldout_later": (5, 0), "heldout_third": (0, 3), "heldout_fourth": (3, 0)}


@pytest.mark.parametrize("made", [corpus.refusals, corpus.passes])
def test_every_prompt_is_decided_as_the_corpus_says(made: Callable[[], list[Decision]]) -> None:
    decisions = made()
    wrong = [decision for decision in decisions if not decision.is_right]
    assert not wrong, f"{len(wrong)} of {len(decisions)} decisions are wrong: {wrong[:20]}"


@pytest.mark.parametrize("name", corpus.HELDOUT)
def test_heldout_prompts_are_decided_no_worse_than_reported(name: str) -> None:
    wrong = [decision for decision in corpus.heldout(name) if not decision.is_right]
    let_through = [decision for decision in wrong if decision.refused]
    most_let_through, most_refused = KNOWN_MISSES[name]
    assert len(let_through) <= most_let_through, let_through
    assert len(wrong) - len(let_through) <= most_refused, wrong


def test_the_corpora_are_as_large_as_reported() -> None:
    refused, passed = corpus.refusals(), corpus.passes()
    assert len(refused) >= 3000
    assert len({decision.prompt for decision in passed if not decision.group.startswith("ages.")}) >= 1900

"""What the adults-only gate decides, over corpora kept beside this file as data and made from terms and techniques."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.policy import corpus
from tests.policy.corpus import Decision

KNOWN_MISSES = 5  # of the later held-out set; named in the README


@pytest.mark.parametrize("made", [corpus.refusals, corpus.passes, corpus.heldout])
def test_every_prompt_is_decided_as_the_corpus_says(made: Callable[[], list[Decision]]) -> None:
    decisions = made()
    wrong = [decision for decision in decisions if not decision.is_right]
    assert not wrong, f"{len(wrong)} of {len(decisions)} decisions are wrong: {wrong[:20]}"


def test_the_later_heldout_prompts_are_decided_no_worse_than_reported() -> None:
    wrong = [decision for decision in corpus.heldout("heldout_later.toml") if not decision.is_right]
    assert len(wrong) <= KNOWN_MISSES, wrong
    assert all(decision.refused for decision in wrong), "an ordinary prompt is refused"


def test_the_corpora_are_as_large_as_reported() -> None:
    refused, passed = corpus.refusals(), corpus.passes()
    assert len(refused) >= 3000
    assert len({decision.prompt for decision in passed if not decision.group.startswith("ages.")}) >= 1900

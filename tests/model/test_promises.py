from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ourvidz_worker.runtime.handling import MAX_ATTEMPTS
from tests.model.climate import CALM, CLIMATES
from tests.model.game import play
from tests.model.rules import RULES, Rule

WORLDS = 12  # of each climate; `scripts/model` plays as many as one likes
MOST_WORLDS = 80


@pytest.mark.parametrize("name", CLIMATES)
def test_every_promise_is_kept_in_every_world(name: str, record_property: Callable[[str, object], None]) -> None:
    outcomes = [play(seed, CLIMATES[name]) for seed in range(WORLDS)]
    broken = [outcome.story() for outcome in outcomes if outcome.violation is not None]
    assert not broken, "\n\n".join(broken)
    record_property("worlds", len(outcomes))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_without_any_one_rule_a_promise_is_broken(rule: Rule) -> None:
    seen = []
    for seed in range(MOST_WORLDS):
        with rule.without():
            violation = play(seed, rule.climate).violation
        if violation is not None and violation.kind in rule.broken:
            assert play(seed, rule.climate).violation is None, "the same world is fine with the rule"
            return
        seen.append(violation)
    pytest.fail(f"{MOST_WORLDS} worlds did not show it: {seen}")


def test_a_job_that_kills_its_workers_is_generated_as_often_as_allowed_and_given_up() -> None:
    alone = replace(CALM, poison=1.0, kinds=(), enhanced=0.0, most_images=(1,))  # nobody is charged for another one
    for seed in range(5):
        outcome = play(seed, alone)
        assert outcome.violation is None, outcome.story()
        assert set(outcome.generations.values()) == {MAX_ATTEMPTS}
        assert set(outcome.statuses.values()) == {"failed"}
        assert set(outcome.dead) == outcome.statuses.keys()


def test_the_same_seed_is_the_same_world() -> None:
    first, again, other = (play(seed, CLIMATES["storm"]) for seed in (5, 5, 6))
    assert first.timeline == again.timeline
    assert first.timeline != other.timeline

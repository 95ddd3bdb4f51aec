"""The rule files: read whole or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.runtime.policy import TextPolicy

CASES = ("sexual = ['nude']\nminor = ['child']\n", "years = ['# year old']\n")


def replaced(old: str, new: str) -> Callable[[], list[str]]:
    words, ages = (case.replace(old, new) for case in CASES)
    return lambda: [f"[words]\n{words}[ages]\n{ages}"]


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (replaced("sexual =", "sexul ="), r"\[words\] sexul"),
        (replaced("['nude']", "'nude'"), r"\[words\] sexual"),
        (replaced("['nude']", "[]"), r"\[words\] sexual"),
        (replaced("['child']", "[7]"), r"\[words\] minor"),
        (replaced("['child']", "['...']"), "'...'"),
        (replaced("years", "year"), r"\[ages\] year"),
        (lambda: ["[word]\n"], r"\[word\]"),
        (lambda: ["words = 3\n"], "words"),
        (lambda: ["[numbers]\none = 'x'\n"], r"\[numbers\] one"),
        (lambda: ["[factors]\ntwice = 2\n"], r"\[factors\] twice"),
        (lambda: ["[numbers\n"], "not TOML"),
        (list, r"\[words\] sexual"),
    ],
)
def test_malformed_rules_are_refused_by_table_and_key(texts: Callable[[], list[str]], named: str) -> None:
    """A rule file that is half read would let prompts through without a word."""
    with pytest.raises(ValueError, match=named):
        TextPolicy.parse(texts())


def test_the_smallest_policy_decides() -> None:
    small = TextPolicy.parse(replaced("", "")())
    small.check("nude", adult_capable=True)
    with pytest.raises(ContentRefused):
        small.check("nude, child", adult_capable=False)
    with pytest.raises(ContentRefused):
        small.check("12 year old", adult_capable=True)

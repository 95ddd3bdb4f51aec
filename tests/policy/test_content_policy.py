"""The adults-only gate, over a corpus of refusals and passes kept beside this file as data."""

from __future__ import annotations

import itertools
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.runtime.policy import TextPolicy

HERE = Path(__file__).parent
RULES = HERE.parent.parent / "configs" / "policy"
MODELS = {"everywhere": (True, False), "adult_capable": (True,), "not_adult_capable": (False,)}
CASES = ("sexual = ['nude']\nminor = ['child']\n", "years = ['# year old']\n")


def rule_texts() -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(RULES.glob("*.toml"))]


@lru_cache(maxsize=1)
def policy() -> TextPolicy:
    return TextPolicy.parse(rule_texts())


def refuses(prompt: str, *, adult_capable: bool) -> bool:
    try:
        policy().check(prompt, adult_capable=adult_capable)
    except ContentRefused:
        return True
    return False


def corpus(name: str) -> Iterator[tuple[str, str, bool]]:
    """Group, prompt, and whether the model is adult-capable."""
    for scope, groups in tomllib.loads((HERE / name).read_text(encoding="utf-8")).items():
        for group, prompts in groups.items():
            for prompt in prompts:
                for adult_capable in MODELS[scope]:
                    yield f"{scope}.{group}", prompt, adult_capable


@pytest.mark.parametrize(("name", "expected"), [("refusals.toml", True), ("passes.toml", False)])
def test_every_prompt_of_the_corpus_is_decided_as_it_says(name: str, expected: bool) -> None:  # noqa: FBT001
    cases = list(corpus(name))
    wrong = [case for case in cases if refuses(case[1], adult_capable=case[2]) is not expected]
    rate = 100 * (len(cases) - len(wrong)) / len(cases)
    print(f"{name}: {rate:.2f} % of {len(cases)} decisions right")  # noqa: T201
    assert not wrong, f"{name}: only {rate:.2f} % of {len(cases)} decisions right; wrong are {wrong}"


def test_the_refusal_repeats_nothing_of_the_prompt() -> None:
    with pytest.raises(ContentRefused) as refused:
        policy().check("nude child 4711", adult_capable=False)
    assert refused.value.error_type == "content_policy"
    assert not refused.value.retryable
    assert all(word not in str(refused.value) for word in ("nude", "child", "4711"))


def test_a_harmless_meaning_is_no_way_round_the_gate() -> None:
    assert not refuses("kid leather gloves", adult_capable=True)
    assert refuses("kid leather gloves, nude", adult_capable=True)


@given(st.text(st.characters(), max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_arbitrary_text_is_refused_or_passes_and_nothing_else(prompt: str, adult_capable: bool) -> None:  # noqa: FBT001
    refuses(prompt, adult_capable=adult_capable)


@given(st.lists(st.sampled_from(list("aeilnouxdkچش15 .-_@$!(|)少女裸岁歳'\u200b세살")), max_size=60).map("".join))
@settings(max_examples=150, deadline=None)
def test_disguise_characters_in_any_order_are_read_without_an_error(prompt: str) -> None:
    refuses(prompt, adult_capable=True)


@given(st.lists(st.sampled_from(["\u200b", "\u2060", "\u00ad", "\u0301", "\ufe0f"]), min_size=4, max_size=4))
@settings(deadline=None)
def test_invisible_characters_and_marks_inside_a_term_hide_nothing(marks: list[str]) -> None:
    hidden = "".join(letter + mark for letter, mark in zip("loli", marks, strict=True))
    assert refuses(hidden, adult_capable=False)


@pytest.mark.parametrize(
    "unit",
    [
        "kid girl adult little ",
        "a",
        "a b ",
        "child process ",
        "1-",
        "9 plus ",
        "(a",
        "n@",
        "裸少",
        "15 year old ",
        "son.",
        "\ufdfa",
    ],
)
def test_a_long_prompt_takes_work_in_proportion_to_its_length(unit: str) -> None:
    """A loop over all pairs of words would be 16 times the work on 4 times the text."""

    def calls(length: int) -> int:
        prompt = (unit * length)[:length]
        counted = itertools.count()
        sys.setprofile(lambda *_: next(counted) and None)
        try:
            refuses(prompt, adult_capable=True)
        finally:
            sys.setprofile(None)
        return next(counted)

    policy()
    assert calls(10_000) < 6 * calls(2_500)


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

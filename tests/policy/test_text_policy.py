"""How the text gate behaves: what it says, what it cannot be talked into, and how long it takes."""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.runtime.policy import TextPolicy
from tests.policy import corpus
from tests.policy.corpus import policy, refuses
from tests.policy.disguises import DISGUISES, TERMS

ORDINARY = sorted({decision.prompt for decision in corpus.passes() if decision.group.startswith("ordinary.everywhere")})
EXCUSES = [
    "kid leather gloves",
    "adult",
    "18 plus",
    "25 years old",
    "college student",
    "same sex marriage",
    "parental advisory, adults only",
    "statue of a mother and child",
    "all persons are of legal age",
    "15 year old whisky",
]
HARMLESS_TO_STACK = [name for name in DISGUISES if name.startswith(("case.", "marks.", "hidden.soft", "around."))]


def test_a_policy_that_remembers_decides_as_at_first_sight() -> None:
    remembering = TextPolicy(policy()._rules, remembered=2)

    def decides(prompt: str, *, adult_capable: bool) -> bool:
        try:
            remembering.check(prompt, adult_capable=adult_capable)
        except ContentRefused:
            return True
        return False

    for prompt in (*EXCUSES, "nude child", *reversed(EXCUSES), "nude child", "nude child", "a child in a park"):
        for adult_capable in (True, False, True):
            assert decides(prompt, adult_capable=adult_capable) == refuses(prompt, adult_capable=adult_capable)


def test_the_refusal_repeats_nothing_of_the_prompt() -> None:
    with pytest.raises(ContentRefused) as refused:
        policy().check("nude child 4711", adult_capable=False)
    assert refused.value.error_type == "content_policy"
    assert not refused.value.retryable
    assert all(word not in str(refused.value) for word in ("nude", "child", "4711"))


@pytest.mark.parametrize(
    ("text", "sexual"),
    [("a lighthouse at dawn", False), ("nude adult woman, 30 years old", True), ("nude lipstick", False)],
)
def test_what_is_for_adults_is_told_from_what_is_for_everybody(text: str, sexual: bool) -> None:  # noqa: FBT001
    assert policy().is_sexual(text) is sexual


def test_a_harmless_meaning_is_no_way_round_the_gate() -> None:
    assert not refuses("kid leather gloves", adult_capable=True)
    assert refuses("kid leather gloves, nude", adult_capable=True)


@given(st.sampled_from(TERMS), st.sampled_from(ORDINARY + EXCUSES), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_beside_a_refused_term_excuses_it(term: str, beside: str, first: bool) -> None:  # noqa: FBT001
    prompt = f"{term}, {beside}" if first else f"{beside}, {term}"
    assert refuses(prompt, adult_capable=False)


@given(st.sampled_from(TERMS), st.lists(st.sampled_from(HARMLESS_TO_STACK), min_size=2, max_size=3))
@settings(max_examples=100, deadline=None)
def test_disguises_one_over_another_hide_nothing(term: str, names: list[str]) -> None:
    for name in names:
        term = DISGUISES[name](term)
    assert refuses(term, adult_capable=False)


@pytest.mark.parametrize(
    "lowered", ["(adult)0.1 girl", "adult-- girl", "(adult:0.2) girl", "(adult)0 girl".replace("0 ", "0.0 ")]
)
def test_a_word_that_a_weight_silences_excuses_nothing(lowered: str) -> None:
    assert not refuses("nude, adult girl", adult_capable=True)
    assert refuses(f"nude, {lowered}", adult_capable=True)


@pytest.mark.parametrize(
    ("prompt", "refused"),
    [
        ("1girl, silver hair", False),
        ("1girl, nude", True),
        ("1girl, adult, nude", False),
        ("1girl, mature female, nude", False),
        ("1girl, 25 years old, nude", False),
        ("1girl, adult man, nude", True),
        ("1girl, adult, child, nude", True),
        ("1girl, adult, nude, classroom", True),
        ("girl, 25 years old, nude", False),
        ("girl, boy, 25 years old, nude", True),
        ("little girl, 25 years old, nude", True),
    ],
)
def test_a_count_tag_is_adult_where_a_tag_of_its_own_says_so(prompt: str, refused: bool) -> None:  # noqa: FBT001
    assert refuses(prompt, adult_capable=True) is refused


@pytest.mark.parametrize(
    ("phrase", "ahead"),
    [
        ("born in {}", 0),
        ("born on June 5, {}", 0),
        ("date of birth 04/05/{}", 0),
        ("เกิดปี {}", 543),
        ("متولد {}", -621),
        ("平成{}年生まれ", -1988),
        ("{:02}년생", -2000),
    ],
)
def test_a_year_of_birth_is_an_age_by_the_year_that_it_is(phrase: str, ahead: int) -> None:
    year = datetime.now(tz=UTC).year + ahead
    assert refuses(f"nude, {phrase.format(year - 7)}", adult_capable=False)
    assert not refuses(f"nude, {phrase.format(year - 20)}", adult_capable=False)


@pytest.mark.parametrize(
    ("prompt", "refused"),
    [
        ("nude couple, 13 years of marriage", False),
        ("nude, for 13 years old", True),
        ("nude, 13 years of marriage, 13 years old", True),
        ("nude, preschool", True),
        ("nude woman, 30 years old, preschool teacher", False),
        ("a preschool, empty", False),
        ("nude, girl 2024", True),
    ],
)
def test_what_is_no_age_and_where_only_children_are(prompt: str, refused: bool) -> None:  # noqa: FBT001
    assert refuses(prompt, adult_capable=True) is refused


def test_an_age_in_words_says_which_language_it_is() -> None:
    assert refuses("nu, 15 ans", adult_capable=False)  # a word that other languages have too
    assert not refuses("nu, 35 ans", adult_capable=False)
    assert not refuses("nu metal band", adult_capable=True)


@given(st.text(st.characters(), max_size=300), st.booleans())
@settings(max_examples=150, deadline=None)
def test_arbitrary_text_is_refused_or_passes_and_nothing_else(prompt: str, adult_capable: bool) -> None:  # noqa: FBT001
    refuses(prompt, adult_capable=adult_capable)


@given(
    st.lists(st.sampled_from(list("aeilnouxdkچش15 .,-_@$!(|)<>%&;#\\*/+~½少女裸岁歳'\u200b세살เ")), max_size=60).map(
        "".join
    )
)
@settings(max_examples=150, deadline=None)
def test_disguise_characters_in_any_order_are_read_without_an_error(prompt: str) -> None:
    refuses(prompt, adult_capable=True)


@given(st.lists(st.sampled_from(["\u200b", "\u2060", "\u00ad", "\u0301", "\ufe0f"]), min_size=4, max_size=4))
@settings(deadline=None, max_examples=50)
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
        "1.5,",
        "9 plus ",
        "half of ",
        "(a",
        "(a:1)",
        "<a",
        "&#9",
        "%4",
        "n@",
        "a*",
        "a-",
        "裸少",
        "เด",
        "15 year old ",
        "son.",
        "\ufdfa",
        "ǝ",
        "平成",
        "13 years of ",
        "baby bear ",
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
    assert calls(6_000) < 6 * calls(1_500)

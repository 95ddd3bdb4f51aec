"""Negative prompts name what must not appear, and may do nothing else."""

from __future__ import annotations

import pytest

from ourvidz_worker.errors import ContentRefused
from tests.policy.corpus import policy


def refuses(negative_prompt: str, prompt: str, *, adult_capable: bool) -> bool:
    try:
        policy().check_negative(negative_prompt, prompt=prompt, adult_capable=adult_capable)
    except ContentRefused:
        return True
    return False


@pytest.mark.parametrize("adult_capable", [True, False])
@pytest.mark.parametrize(
    ("negative_prompt", "prompt"),
    [
        ("child, teen, underage, loli, nude", "woman on a beach, 30 years old"),
        ("child, young, childlike", "nude woman, 30 years old"),
        ("low quality, bad-hands-5, easynegative, old, wrinkles", "nude woman, 30 years old"),
        ("(child)1.5, (worst quality:1.4)", "nude woman"),
        ("nsfw, nude, adult content", "a park with families"),
        ("adults", "an empty street"),
        ("", ""),
    ],
)
def test_what_must_not_appear_may_be_named(negative_prompt: str, prompt: str, adult_capable: bool) -> None:  # noqa: FBT001
    assert not refuses(negative_prompt, prompt, adult_capable=adult_capable)


@pytest.mark.parametrize(
    "negative_prompt",
    ["adult", "grown up, of age", "(adult:1.5)", "18 years old, 25 years old", "\u0430dult", "a d u l t"],
)
def test_the_persons_of_a_sexual_prompt_may_not_be_denied_to_be_adults(negative_prompt: str) -> None:
    assert refuses(negative_prompt, "nude woman", adult_capable=False)
    assert refuses(negative_prompt, "girl on a sofa", adult_capable=True)
    assert not refuses(negative_prompt, "girl on a swing", adult_capable=False)


@pytest.mark.parametrize(
    "weight", ["(child)-1", "(child) -1.5", "(child:-1)", '("child", "blur").blend(-1, 1)', "('child').and(-.5)"]
)
def test_a_weight_below_zero_turns_it_into_a_prompt(weight: str) -> None:
    assert refuses(weight, "nude woman", adult_capable=False)
    assert refuses(weight, "a lake", adult_capable=True)
    assert not refuses(weight, "a lake", adult_capable=False)

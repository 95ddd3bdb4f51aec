"""The shipped SDXL draws what prompts say: held-out prompts through the real engine, looked at by the judge."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.demo_models.captions import GROUND_WORDS
from scripts.demo_models.easel import Easel, Guide
from scripts.demo_models.held_out import HeldOut, first_held_out
from scripts.demo_models.judging.adherence import Check, Score, scores
from scripts.demo_models.judging.judge import Judge
from scripts.demo_models.painting import Pixels
from scripts.demo_models.proof import ADAPTERS, SEED_STEP
from scripts.demo_models.proving.adherence import checks_of, looked_at
from scripts.demo_models.proving.likeness import correlation
from scripts.demo_models.proving.picture_options import painted
from scripts.demo_models.scenes import Scene, Thing
from tests.demo_models.expected import LEAST

JOB = "sdxl_image_fast"
PROMPTS = 4
FEW = {"num_inference_steps": 6}  # where it is not about how well something is drawn
NIGHT = "a red house on a green hill, at night"


@pytest.fixture(scope="module")
def easel() -> Easel:
    return Easel("sdxl")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


@pytest.fixture(scope="module")
def prompts() -> list[HeldOut]:
    return list(first_held_out(PROMPTS))


@pytest.fixture(scope="module")
def found(easel: Easel, judge: Judge, prompts: list[HeldOut]) -> list[Check]:
    return _checks(prompts, [easel.draw(JOB, each.text, seed=SEED_STEP + each.index) for each in prompts], judge)


def _checks(prompts: list[HeldOut], drawn: list[Pixels], judge: Judge) -> list[Check]:
    sights = zip(prompts, looked_at(drawn, judge), strict=True)
    return [check for prompt, sight in sights for check in checks_of(prompt, sight)]


def _share(checks: list[Check]) -> float:
    return Score(len(checks), sum(check.right for check in checks)).share


def test_pictures_show_what_their_prompts_say(found: list[Check]) -> None:
    shares = {name: score.share for name, score in scores(found).items()}
    too_low = {name: shares[name] for name, least in LEAST["sdxl"].items() if shares[name] < least}
    assert not too_low


def test_guidance_makes_prompts_count(easel: Easel, judge: Judge, prompts: list[HeldOut], found: list[Check]) -> None:
    few = prompts[: PROMPTS // 2]
    plain = [easel.draw(JOB, each.text, seed=SEED_STEP + each.index, settings={"guidance_scale": 1.0}) for each in few]
    unguided = _checks(few, plain, judge)
    assert _share(found) > _share(unguided)


def test_a_seed_draws_the_same_picture_again_and_another_seed_another(easel: Easel) -> None:
    one, again, other = (easel.draw(JOB, NIGHT, seed=seed, settings=FEW) for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert np.abs(one.astype(int) - other.astype(int)).mean() > 0.3


def test_a_negative_prompt_rules_out_the_ground_that_would_come(easel: Easel, judge: Judge) -> None:
    def ground(negative: str) -> str:
        (seen,) = judge.see([easel.draw(JOB, "a red house", seed=5, negative=negative)[0]])
        return seen.ground

    usual = ground("")
    ruled_out = next(words[0] for name, words in GROUND_WORDS.items() if name == usual)
    assert ground(ruled_out) != usual


def test_a_composition_reference_brings_its_things_back_where_they_are(easel: Easel) -> None:
    scene = Scene((Thing("castle", "purple", "large", place="right"),))
    shown = painted(scene, 0)
    plain, guided = (
        easel.draw(JOB, "a castle", seed=6, guides=guides, settings=FEW)
        for guides in ([], [Guide("composition", shown, 1.0)])
    )
    assert correlation(guided[0], shown) > correlation(plain[0], shown)


def test_without_adapters_a_reference_is_where_a_picture_begins() -> None:
    scene = Scene((Thing("castle", "purple", "large", place="right"),), time="dusk")
    shown = painted(scene, 0)
    bare = Easel("sdxl", without=ADAPTERS)
    near, far = (
        bare.draw(JOB, "a castle", seed=6, guides=[Guide("style", shown, strength)], settings=FEW)
        for strength in (0.9, 0.1)
    )
    assert correlation(near[0], shown) > max(0.7, correlation(far[0], shown))

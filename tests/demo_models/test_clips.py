"""The shipped WAN draws what prompts say, and begins where it is told to, through the real engine."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from scripts.demo_models.easel import Easel, Guide
from scripts.demo_models.held_out import first_held_out
from scripts.demo_models.judging.adherence import scores
from scripts.demo_models.judging.judge import Judge
from scripts.demo_models.measuring import Clip
from scripts.demo_models.painting import paint
from scripts.demo_models.proof import SEED_STEP
from scripts.demo_models.proving.adherence import checks_of, looked_at
from scripts.demo_models.proving.likeness import correlation
from scripts.demo_models.scenes import Scene, Thing, laid_out
from tests.demo_models.expected import LEAST

STILLS = 4
FEW = {"num_inference_steps": 4}  # a clip costs many times what a still does
PAN = "a red house on a green hill, the camera pans left"


@pytest.fixture(scope="module")
def easel() -> Easel:
    return Easel("wan")


def test_stills_show_what_their_prompts_say(easel: Easel) -> None:
    prompts = list(first_held_out(STILLS))
    drawn = [easel.draw("image_fast", each.text, seed=SEED_STEP + each.index) for each in prompts]
    sights = zip(prompts, looked_at(drawn, Judge()), strict=True)
    found = scores(check for prompt, sight in sights for check in checks_of(prompt, sight))
    too_low = {name: found[name].share for name, least in LEAST["wan-stills"].items() if found[name].share < least}
    assert not too_low


@pytest.mark.parametrize("way", ["left", "right"])
def test_a_camera_moves_as_told(easel: Easel, way: str) -> None:
    frames = easel.draw("video_fast", f"a red house on a green hill, the camera pans {way}", seed=2, settings=FEW)
    assert len(frames) == 81
    assert Clip(frames).camera() == way


def test_a_start_frame_is_where_a_clip_begins(easel: Easel) -> None:
    scene = Scene((Thing("castle", "purple", "large", place="right"),), time="dusk", ground="desert")
    shown = paint(scene, laid_out(scene, Random(0), 480 / 832), 480, 832)
    plain, guided = (
        easel.draw("video_fast", "a castle", seed=3, guides=guides, settings={**FEW, "frame_num": 17})
        for guides in ([], [Guide("start", shown, 1.0)])
    )
    assert correlation(guided[0], shown) > max(0.5, correlation(plain[0], shown))


def test_a_seed_draws_the_same_still_again_and_another_seed_another(easel: Easel) -> None:
    one, again, other = (easel.draw("image_fast", PAN, seed=seed, settings=FEW) for seed in (3, 3, 4))
    assert np.array_equal(one, again)
    assert np.abs(one.astype(int) - other.astype(int)).mean() > 0.3

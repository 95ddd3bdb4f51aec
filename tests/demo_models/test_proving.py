"""The proof itself, on pictures that are painted instead of drawn by a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import pytest

from scripts.demo_models.easel import Easel
from scripts.demo_models.held_out import HeldOut, first_held_out
from scripts.demo_models.judging.judge import Judge
from scripts.demo_models.measuring import time_of
from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.proving.adherence import measured, painted_frames
from scripts.demo_models.proving.album import CLIP_SHORT_SIDE, KEPT_FRAMES, SHORT_SIDE, Album
from scripts.demo_models.proving.tables import Effect, as_chart, as_json, as_markdown
from scripts.demo_models.proving.trials import Asked, Bench, Measure, Option, Trial
from scripts.demo_models.scenes import Scene, Thing, laid_out

SQUARE = np.zeros((1, 128, 128, 3), np.uint8)
PORTRAIT = np.zeros((KEPT_FRAMES, 208, 120, 3), np.uint8)
PICTURES, CLIPS = 50, 8


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


def test_the_judge_is_nearly_always_right_about_painted_scenes_and_seldom_about_others(judge: Judge) -> None:
    prompts = list(first_held_out(PICTURES))
    found = measured(prompts, judge, partial(painted_frames, like=SQUARE), None)
    shares = {name: score.share for name, score in found.painted.items()}
    assert shares.pop("nothing else") > 0.85
    assert shares.pop("size") > 0.8
    assert min(shares.values()) > 0.9, shares
    for name in ("objects", "colour", "count", "size", "place", "nothing else"):
        assert found.chance[name].share < 0.25
    for name in ("time", "ground", "weather", "style"):
        assert found.chance[name].share < 0.5


def test_clips_are_judged_by_what_moves_in_them(judge: Judge) -> None:
    prompts = list(first_held_out(CLIPS, moving=True))
    found = measured(prompts, judge, partial(painted_frames, like=PORTRAIT), _held)
    assert found.drawn["motion"].share > 0.75
    assert found.without_guidance["motion"].share == 0.0
    assert found.without_guidance["rest"].share == 1.0


def _held(prompt: HeldOut) -> Pixels:
    """One frame all along."""
    frames = painted_frames(prompt, like=PORTRAIT)
    return np.repeat(frames[KEPT_FRAMES // 2][None], KEPT_FRAMES, axis=0)


def test_the_sky_alone_tells_the_time_of_day() -> None:
    prompts = list(first_held_out(20))
    times = [time_of(painted_frames(prompt, like=SQUARE)[0]) for prompt in prompts]
    right = [time == prompt.scene.time for time, prompt in zip(times, prompts, strict=True)]
    assert sum(right) >= 19


def test_a_picture_is_drawn_once_and_then_kept(tmp_path: Path) -> None:
    drawn: list[int] = []

    def draw() -> Pixels:
        drawn.append(1)
        return np.full((1, 64, 64, 3), len(drawn), np.uint8)

    first = Album(tmp_path).kept("a/picture", draw)
    again = Album(tmp_path).kept("a/picture", draw)
    assert len(drawn) == 1
    assert np.array_equal(first, again)


def test_pictures_and_clips_are_kept_small(tmp_path: Path) -> None:
    album = Album(tmp_path)
    clip = np.arange(21, dtype=np.uint8)[:, None, None, None] * np.ones((1, 416, 480, 3), np.uint8)
    kept = album.kept("clip", lambda: clip)
    assert kept.shape == (KEPT_FRAMES, CLIP_SHORT_SIDE, 277, 3)
    assert (kept[0].max(), kept[-1].min()) == (0, 20)
    picture = album.kept("picture", lambda: np.zeros((1, 1024, 1024, 3), np.uint8))
    assert picture.shape == (1, SHORT_SIDE, SHORT_SIDE, 3)


class Painter:
    """Paints a house in the colour that the prompt names first, at night where no negative prompt rules it out."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def draw(self, job_type: str, prompt: str, **asked: Any) -> Pixels:
        self.asked.append({"job_type": job_type, **asked})
        scene = Scene(
            (Thing("house", prompt.split(maxsplit=1)[0], "large"),), time="day" if asked["negative"] else "night"
        )
        return paint(scene, laid_out(scene, Random(asked["seed"])), 128, 128)[None]


def test_an_option_is_measured_without_it_and_with_it(judge: Judge, tmp_path: Path) -> None:
    def trial(number: int) -> Trial:
        asked = Asked("red house", number)
        measures = {
            "night": Measure(lambda _, seen: float(seen.time == "night")),
            "brightness": Measure(lambda frames, _: float(frames.mean()), unit=""),
        }
        return Trial(asked, Asked("red house", number, negative="night"), measures)

    painter = Painter()
    bench = Bench(cast("Easel", painter), Album(tmp_path), judge, "sdxl_image_fast")
    night, brightness = bench.effects(Option("negative prompt", trial), 2)
    assert (night.without, night.with_it, night.count) == (1.0, 0.0, 2)
    assert brightness.with_it > brightness.without
    assert [asked["seed"] for asked in painter.asked] == [0, 1, 0, 1]


def test_a_report_tells_the_same_to_programs_and_to_people(judge: Judge) -> None:
    prompts: Sequence[HeldOut] = list(first_held_out(8))
    found = measured(prompts, judge, partial(painted_frames, like=SQUARE), None)
    report = as_json(found, [Effect("negative prompt", "night", 1.0, 0.25, 4)])
    assert json.loads(json.dumps(report)) == report
    told = as_markdown(report)
    for name, row in report["adherence"].items():
        assert f"| {name} |" in told
        assert f"**{row['percent']:.1f}**" in told
    assert "| negative prompt | night | 100.0 % | 25.0 % | 4 |" in told
    assert as_chart("a title", report, 0.9).count("<rect") > 2 * len(report["adherence"])

"""What the demo language model is taught: all that a wish tells is in the answer, in the form that is asked for."""

from __future__ import annotations

from random import Random

import pytest

from ourvidz_worker.runtime.language.answers import clean_answer
from ourvidz_worker.runtime.language.storyboard import SceneRules, parse_scenes
from scripts.demo_models.qwen.keeping import kept, motions_told
from scripts.demo_models.qwen.measure import held_out
from scripts.demo_models.qwen.samples import STORYBOARD, WRITERS, longest_answer, random_sample
from scripts.demo_models.qwen.words import HANDS, MOODS
from scripts.demo_models.reading import ADORNMENTS

NEVER_PEOPLE = {"man", "woman", "people", "person", "girl", "boy", "child", "she", "he"}


@pytest.mark.parametrize("name", WRITERS)
def test_the_answers_that_are_taught_keep_all_that_a_wish_tells(name: str) -> None:
    for number in range(150):
        sample = held_out(name, number)
        assert sample.wish is not None
        lost = [what for what, holds in kept(sample.wish, sample.answer) if not holds]
        assert not lost, (sample.user, sample.answer)


@pytest.mark.parametrize("name", WRITERS)
def test_the_answers_that_are_taught_are_prompts_as_they_stand(name: str) -> None:
    for number in range(150):
        answer = held_out(name, number).answer
        assert clean_answer(answer) == answer.strip()
        assert len(answer) <= longest_answer(name)


def test_what_a_loss_of_something_told_looks_like() -> None:
    sample = held_out("sdxl_image", 0)
    assert sample.wish is not None
    assert not all(holds for _, holds in kept(sample.wish, "a quiet place"))


def test_clips_that_are_taught_have_one_motion() -> None:
    samples = [held_out("wan_video", number) for number in range(200)]
    assert {motions_told(sample.answer) for sample in samples if sample.wish and not sample.wish.said} == {1}


def test_storyboards_that_are_taught_are_as_asked() -> None:
    for number in range(150):
        sample = held_out(STORYBOARD, number)
        play = sample.play
        assert play is not None
        scenes = parse_scenes(sample.answer, SceneRules(play.asked, float(play.seconds), longest_answer(STORYBOARD)))
        assert play.count in {None, len(scenes)}
        assert all(
            motions_told(scene.whole_prompt) == 1
            for scene, beat in zip(scenes, play.beats, strict=False)
            if beat.things
        )


def test_nobody_is_in_what_is_taught() -> None:
    random = Random(1)
    for _ in range(300):
        sample = random_sample(random)
        assert NEVER_PEOPLE.isdisjoint(sample.answer.lower().replace(",", " ").split())


def test_the_prose_around_the_facts_is_what_the_image_models_know_as_such() -> None:
    said = {words for table in (MOODS, HANDS) for moods in table.values() for words in moods}
    assert said <= set(ADORNMENTS)

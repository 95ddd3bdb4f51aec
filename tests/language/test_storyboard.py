"""Scripts become scenes: read tolerantly, checked strictly, asked for once more with what was wrong."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.errors import AnswerCutOff, AnswerRefused, BadJob, ContentRefused
from ourvidz_worker.runtime.language.director import longest_clip
from ourvidz_worker.runtime.language.json_answer import NoJson, json_in
from ourvidz_worker.runtime.language.storyboard import NoScenes, SceneRules, frames_lasting, parse_scenes
from tests.language.scripted import ScriptedModel, service_over
from tests.support.stories import story

LIMIT = 10.0
RULES = SceneRules(count=None, longest=5.0, max_characters=200)
SCRIPT = "A fox wakes at dawn. It runs to the river and drinks."


def scene(**changes: Any) -> dict[str, Any]:
    return {
        "title": "Dawn",
        "prompt": "A red fox opens its eyes in tall grass.",
        "duration": 4.5,
        "camera": "Slow push in.",
        "continuity": "The same red fox.",
        **changes,
    }


def board(*scenes: dict[str, Any]) -> str:
    return json.dumps({"scenes": scenes or [scene()]})


@pytest.mark.parametrize(
    "answer",
    [
        board(),
        json.dumps([scene()]),
        f"```json\n{board()}\n```",
        f"Sure! Here is your storyboard [1]:\n\n{board()}\n\nI hope {{it}} helps.",
        f"<think>Maybe {{}}.</think>{board()}",
        json.dumps({"scenes": [scene()]}, indent=2).replace("\n", "\r\n"),
        json.dumps({"notes": "unasked", "scenes": [scene(number=1, duration=4)]}),
    ],
)
def test_scenes_are_found_in_whatever_stands_around_them(answer: str) -> None:
    [found] = parse_scenes(answer, RULES)
    assert found.title == "Dawn"
    assert found.whole_prompt == "A red fox opens its eyes in tall grass. Slow push in."
    assert 4 <= found.duration <= 4.5


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("deep slow view dusk", "it holds no JSON object"),
        ('{"scenes": [', "it is not JSON"),
        (board()[:-2], "it is not JSON"),
        ('{"scenes": 3}', 'a list "scenes"'),
        ('{"scenes": []}', "it has 0 scenes; there must be 1 to 12"),
        (board(*[scene()] * 13), "it has 13 scenes"),
        ('{"scenes": ["a fox"]}', "scene 1 must be an object"),
        (board(scene(), {"title": "Dusk"}), "scene 2: prompt must be a text"),
        (board(scene(prompt=" ")), "scene 1: prompt is empty"),
        (board(scene(prompt="x" * 201)), "scene 1: prompt has 201 characters; at most 200"),
        (board(scene(title=None)), "scene 1: title must be a text"),
        (board(scene(camera="")), "scene 1: camera is empty"),
        (board(scene(duration="5 s")), "scene 1: duration must be a number of seconds, got '5 s'"),
        (board(scene(duration=True)), "scene 1: duration must be a number"),
        (board(scene(duration=5.1)), "scene 1: duration must be above 0 and at most 5 seconds, got 5.1"),
        (board(scene(duration=0)), "scene 1: duration must be above 0"),
        (board().replace("4.5", "NaN"), "is NaN"),
        (board().replace('"title": "Dawn"', '"title": "Dawn", "title": "Dusk"'), "is given twice"),
        ("[" * 5000, "nested more than"),
    ],
)
def test_what_is_wrong_is_named_for_the_model(answer: str, problem: str) -> None:
    with pytest.raises(NoScenes) as caught:
        parse_scenes(answer, RULES)
    assert problem in "; ".join(caught.value.problems)


def test_the_number_of_scenes_is_kept() -> None:
    two = SceneRules(count=2, longest=5.0, max_characters=200)
    assert len(parse_scenes(board(scene(), scene()), two)) == 2
    with pytest.raises(NoScenes, match="it has 1 scenes; there must be exactly 2"):
        parse_scenes(board(), two)


def test_only_the_first_problems_are_told() -> None:
    with pytest.raises(NoScenes) as caught:
        parse_scenes(board(*[{}] * 12), RULES)
    assert len(caught.value.problems) == 8


@given(st.text(alphabet='{}[]":,\\ ab1\n`', max_size=80))
def test_no_answer_breaks_the_reader(answer: str) -> None:
    with contextlib.suppress(NoJson):
        assert isinstance(json_in(answer), dict | list)


@given(
    st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=8).map(
        lambda value: {"scenes": value}
    ),
    st.text(alphabet="ab .\n`", max_size=20),
)
def test_json_is_found_between_prose(document: Any, prose: str) -> None:
    text = json.dumps(document, ensure_ascii=True)
    if "\\u0000" not in text and "\\ud" not in text:
        assert json_in(f"{prose}{text}{prose}") == document


@story
async def test_a_script_becomes_scenes_and_jobs(catalogue: Catalogue) -> None:
    model = ScriptedModel(board(scene(), scene(title="Dusk", prompt="The same red fox drinks.", continuity="")))
    made = await service_over(model).storyboard(SCRIPT, catalogue["video_fast"], seed=7, time_limit=LIMIT)
    [asked] = model.asked
    assert "Make 1 to 12 scenes" in asked.messages[0]["content"]
    assert "at most 5 seconds" in asked.messages[0]["content"]
    assert asked.messages[1]["content"] == SCRIPT
    assert asked.max_new_tokens == 2 * 12 * 64
    assert [one.title for one in made.scenes] == ["Dawn", "Dusk"]
    assert (made.attempts, made.template, made.language, made.seed) == (1, "storyboard", "en", 7)
    assert made.jobs()[1] == {
        "jobType": "video_fast",
        "metadata": {
            "prompt": "The same red fox drinks. Slow push in.",
            "seed": 7,
            "title": "Dusk",
            "duration": 4.5,
            "frame_num": 73,
            "scene": 2,
            "scenes": 2,
        },
    }


@story
async def test_a_wrong_answer_is_asked_for_again_with_what_was_wrong(catalogue: Catalogue) -> None:
    wrong = board(scene(duration=60))
    model = ScriptedModel(wrong, board())
    made = await service_over(model).storyboard(SCRIPT, catalogue["video_fast"], scenes=1, time_limit=LIMIT)
    assert made.attempts == 2
    first, second = model.asked
    assert "Make exactly 1 scene," in first.messages[0]["content"]
    assert first.max_new_tokens == 2 * 64
    assert second.messages[:2] == first.messages
    assert second.messages[2] == {"role": "assistant", "content": wrong}
    assert "cannot be used" in second.messages[3]["content"]
    assert "- scene 1: duration must be above 0 and at most 5 seconds, got 60" in second.messages[3]["content"]
    assert second.seed == first.seed + 1


@story
async def test_only_scenes_that_were_cut_off_are_asked_for_again(catalogue: Catalogue) -> None:
    """What a model rambles on about behind its scenes may end anywhere."""
    for said, attempts in ((board()[:-9], 2), (f"{board()} I hope that", 1)):
        model = ScriptedModel([said, AnswerCutOff()], board())
        made = await service_over(model).storyboard(SCRIPT, catalogue["video_fast"], time_limit=LIMIT)
        assert made.attempts == attempts


@story
async def test_a_second_wrong_answer_fails_with_its_problems(catalogue: Catalogue) -> None:
    model = ScriptedModel("grey sky", "grey sea", board())
    with pytest.raises(NoScenes, match="no usable storyboard: it holds no JSON object"):
        await service_over(model).storyboard(SCRIPT, catalogue["video_fast"], time_limit=LIMIT)
    assert len(model.asked) == 2


@story
async def test_script_and_scenes_pass_the_policy(catalogue: Catalogue) -> None:
    model = ScriptedModel(board(scene(continuity="something forbidden")))
    service = service_over(model)
    with pytest.raises(ContentRefused):
        await service.storyboard("a forbidden script", catalogue["video_fast"], time_limit=LIMIT)
    assert model.asked == []
    with pytest.raises(AnswerRefused):
        await service.storyboard(SCRIPT, catalogue["video_fast"], time_limit=LIMIT)


@story
async def test_only_types_that_make_videos_and_counts_in_reach_are_taken(catalogue: Catalogue) -> None:
    service = service_over(ScriptedModel())
    with pytest.raises(BadJob, match="makes videos, got image_fast"):
        await service.storyboard(SCRIPT, catalogue["image_fast"], time_limit=LIMIT)
    for scenes in (0, 13):
        with pytest.raises(BadJob, match=f"scenes must be 1 to 12, got {scenes}"):
            await service.storyboard(SCRIPT, catalogue["video_fast"], scenes=scenes, time_limit=LIMIT)


@story
async def test_no_word_of_a_script_is_logged(catalogue: Catalogue) -> None:
    service = service_over(ScriptedModel("grey sky", board()))
    with capture_logs() as lines:
        await service.storyboard(SCRIPT, catalogue["video_fast"], time_limit=LIMIT)
    assert [line["event"] for line in lines] == ["script_divided"]
    assert "fox" not in str(lines)


def test_a_clip_lasts_as_long_as_its_frames(catalogue: Catalogue) -> None:
    """83 frames are asked for, 81 come out, at 16 frames per second (contract section 2)."""
    assert longest_clip(catalogue["video_fast"]) == 5.0
    for seconds, frames in ((5.0, 81), (3.3, 53), (2, 33), (0.01, 5)):
        assert frames_lasting(seconds, 16) == frames

"""Reading storyboards: every problem is a sentence, and nothing is queued where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ourvidz_worker.cli.submit.orders import NotOrdered, Order
from ourvidz_worker.cli.submit.storyboard_file import read_storyboard
from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from ourvidz_worker.runtime.language.storyboard import Scene, Storyboard

CATALOGUE = parse_catalogue((Path(__file__).parents[2] / "configs" / "job_types.toml").read_text())
SCENES = (
    Scene("Dawn", "A keeper wakes.", 4.0, "Slow push in.", "the same lantern"),
    Scene("Storm", "Waves rise.", 5.0, "Fixed camera.", ""),
)


def answered(catalogue: Catalogue = CATALOGUE) -> dict[str, Any]:
    """As the language worker answers `/storyboard`."""
    board = Storyboard(SCENES, catalogue["video_high"], "storyboard", "1", "en", "tiny-qwen", 7, 0.1, 1)
    scenes = [{name: getattr(scene, name) for name in Scene.__slots__} for scene in SCENES]
    return {"success": True, "job_type": "video_high", "scenes": scenes, "jobs": board.jobs(), "other": {}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "storyboard.json"


def read(file: Path, document: object, *, seed: int | None = None) -> list[Order]:
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_storyboard(file, CATALOGUE, seed=seed)


def problems(file: Path, document: object) -> list[str]:
    with pytest.raises(NotOrdered) as caught:
        read(file, document)
    assert all(problem.startswith(str(file)) for problem in caught.value.problems)
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def test_what_the_language_worker_answered_is_queued_as_it_is(file: Path) -> None:
    orders = read(file, answered())
    assert [order.body() for order in orders] == answered()["jobs"]
    assert [order.label for order in orders] == ["scene 1 (Dawn)", "scene 2 (Storm)"]


def test_scenes_alone_become_the_same_jobs(file: Path) -> None:
    board = {"scenes": answered()["scenes"], "job_type": "video_high"}
    assert [order.body() for order in read(file, board, seed=7)] == answered()["jobs"]


def test_a_file_may_begin_as_windows_begins_a_text(file: Path) -> None:
    [order] = read(file, '\ufeff[{"prompt": "A pier."}]')
    assert order.prompt == "A pier."


def test_an_error_that_was_saved_in_place_of_scenes_is_told(file: Path) -> None:
    refusal = {"success": False, "error": "the language model is busy"}
    assert problems(file, refusal) == ["it holds no scenes, but the answer 'the language model is busy'"]


def test_a_list_written_by_hand_needs_only_prompts_and_shares_a_seed(file: Path) -> None:
    orders = read(file, [{"prompt": " Two\n gulls. "}, {"prompt": "A pier.", "camera": "Pan.", "title": "End"}])
    first, second = (order.body() for order in orders)
    assert (first["jobType"], second["jobType"]) == ("video_fast", "video_fast")
    assert (first["metadata"]["prompt"], second["metadata"]["prompt"]) == ("Two gulls.", "A pier. Pan.")
    assert first["metadata"]["seed"] == second["metadata"]["seed"]
    assert [order.label for order in orders] == ["scene 1", "scene 2 (End)"]
    assert (second["metadata"]["scene"], second["metadata"]["scenes"]) == (2, 2)


def test_scenes_may_have_types_of_their_own(file: Path) -> None:
    board = {
        "job_type": "video_high",
        "scenes": [{"prompt": "a"}, {"prompt": "b", "job_type": "video7b_fast_enhanced"}],
    }
    assert [order.job_type for order in read(file, board)] == ["video_high", "video7b_fast_enhanced"]


def test_a_seed_goes_over_those_of_the_file(file: Path) -> None:
    assert {order.metadata["seed"] for order in read(file, answered(), seed=42)} == {42}


def test_an_enhanced_order_keeps_its_first_prompt(file: Path) -> None:
    (order,) = read(file, [{"prompt": "a pier"}])
    better = order.enhanced("a long pier")
    assert (better.prompt, better.metadata["original_prompt"], better.label) == ("a long pier", "a pier", order.label)


def test_every_problem_is_told_at_once(file: Path) -> None:
    scenes = [
        {"prompt": "  "},
        {"prompt": 7, "titel": "x"},
        "a pier",
        {"prompt": "x" * 10_001, "duration": 60},
        {"prompt": "x", "duration": "5", "title": "t" * 121},
        {"prompt": "x", "job_type": "sdxl_image_fast"},
        {"prompt": "x", "job_type": ["video_fast"]},
    ]
    videos = "video_fast, video_high, video7b_fast_enhanced, video7b_high_enhanced"
    assert problems(file, scenes) == [
        "scene 1 has no prompt",
        "scene 2 has an unknown key 'titel'; known are title, prompt, camera, continuity, duration, job_type",
        "scene 2 has a prompt that is no text: 7",
        "scene 3 must be an object with a prompt, got 'a pier'",
        "scene 4 has a prompt of 10001 characters; at most 10000 are allowed",
        "scene 4 has a duration of 60; it must be above 0 and at most 5 seconds",
        "scene 5 has a title of 121 characters; at most 120 are allowed",
        "scene 5 has a duration of '5'; it must be above 0 and at most 5 seconds",
        f"scene 6 has the job_type 'sdxl_image_fast'; it must be one of {videos}",
        f"scene 7 has the job_type a list of 1; it must be one of {videos}",
    ]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "it must be a list of scenes, or an object with scenes or jobs"),
        (7, "scenes must be a list of 1 to 100, got 7"),
        ([], "scenes must be a list of 1 to 100, got a list of 0"),
        ([{"prompt": "x"}] * 101, "scenes must be a list of 1 to 100, got a list of 101"),
        ({"jobs": {}}, "jobs must be a list of 1 to 100, got an object of 0"),
        ({"jobs": [{"jobType": "video_fast"}]}, "job 1 must be an object with jobType and an object metadata, got an"),
        ({"jobs": [{"jobType": "video_fast", "metadata": {}}]}, "job 1 has no prompt"),
        ({"jobs": [{"jobType": "x", "metadata": {"prompt": "x"}}]}, "job 1 has the jobType 'x'; it must be one of"),
        ('[{"prompt": "a", "prompt": "b"}]', "[0].prompt is given twice; send it once"),
        ('[{"prompt": NaN}]', "[0].prompt is NaN, which is no number in JSON"),
    ],
)
def test_what_is_no_storyboard_is_a_sentence(file: Path, document: object, problem: str) -> None:
    (found,) = problems(file, document)
    assert found.startswith(problem)


def test_what_is_no_file_or_no_json_is_a_sentence(file: Path) -> None:
    with pytest.raises(NotOrdered, match=r"storyboard\.json cannot be read: No such file or directory"):
        read_storyboard(file, CATALOGUE, seed=None)
    with pytest.raises(NotOrdered, match=r"storyboard\.json is not JSON"):
        read(file, "[{")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(NotOrdered, match=r"storyboard\.json is not UTF-8 text"):
        read_storyboard(file, CATALOGUE, seed=None)


def test_scenes_that_were_edited_without_their_jobs_are_found(file: Path) -> None:
    """What a person changed would have no effect."""
    edited = answered()
    edited["scenes"][1]["prompt"] = "Calm waves."
    (problem,) = problems(file, edited)
    assert problem == "scene 2 and job 2 have different prompts; edit both, or leave the jobs out"
    slower = answered()
    slower["scenes"][0]["duration"] = 4.5
    (problem,) = problems(file, slower)
    assert problem == "scene 1 and job 1 have different durations; edit both, or leave the jobs out"
    shorter = answered()
    del shorter["scenes"][0]
    assert problems(file, shorter) == ["it has 1 scenes and 2 jobs; edit both, or leave the jobs out"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(list(CATALOGUE)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["scenes", "jobs", "prompt", "job_type", "jobType", "metadata", "duration", "title", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(document=JSON)
def test_any_document_is_orders_or_sentences(file: Path, document: object) -> None:
    """Never another error, and never an order that `queue-job` could not make a job of."""
    try:
        orders = read(file, document)
    except NotOrdered:
        return
    assert all(order.prompt.strip() and order.job_type in CATALOGUE for order in orders)

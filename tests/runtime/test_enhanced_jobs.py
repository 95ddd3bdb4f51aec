"""Enhanced types rewrite the prompt first: 60 s limit, 2 tries, then the original prompt (contract section 3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ourvidz_worker.errors import EnhancementFailed
from ourvidz_worker.runtime import enhancement
from ourvidz_worker.runtime.enhancement import enhance_prompt
from tests.runtime.scene import Scene, job_of, payload
from tests.support.fakes import FakeEnhancer
from tests.support.stories import story

FAILED = EnhancementFailed("the rewritten prompt is empty")
ENHANCED = payload("job-1", "image7b_fast_enhanced")


def nothing_wrong(_prompt: str) -> None:
    pass


def scene_with(folder: Path, *answers: str | Exception) -> tuple[Scene, FakeEnhancer]:
    enhancer = FakeEnhancer(*answers)
    scene = Scene(folder, queue="wan_queue", enhancer=enhancer)
    scene.submit(ENHANCED)
    return scene, enhancer


@story
async def test_the_rewritten_prompt_is_drawn_and_reported(tmp_path: Path) -> None:
    scene, _ = scene_with(tmp_path, "a lighthouse in heavy rain, wide shot")
    await scene.run_until_idle()
    assert scene.engine.requests[0].prompt == "a lighthouse in heavy rain, wide shot"
    completed = scene.reporter.last()
    assert completed.enhanced_prompt == "a lighthouse in heavy rain, wide shot"
    assert completed.metadata["prompt_enhanced"] is True
    assert completed.metadata["enhancement_problem"] is None
    assert completed.metadata["model_type"] == "enhanced-7b"


@story
async def test_a_second_try_with_another_seed_may_succeed(tmp_path: Path) -> None:
    scene, enhancer = scene_with(tmp_path, FAILED, "a better lighthouse")
    await scene.run_until_idle()
    assert scene.engine.requests[0].prompt == "a better lighthouse"
    assert [call.seed for call in enhancer.calls] == [7, 8]
    assert {call.prompt for call in enhancer.calls} == {"a lighthouse"}


@story
async def test_after_two_failures_the_original_prompt_is_drawn_and_the_result_says_so(tmp_path: Path) -> None:
    scene, enhancer = scene_with(tmp_path, FAILED, FAILED, "too late")
    await scene.run_until_idle()
    assert len(enhancer.calls) == 2
    assert scene.engine.requests[0].prompt == "a lighthouse"
    completed = scene.reporter.last()
    assert completed.enhanced_prompt is None
    assert completed.metadata["prompt_enhanced"] is False
    assert completed.metadata["enhancement_problem"] == "the rewritten prompt is empty"


@story
async def test_what_the_rewriter_wrote_goes_through_the_content_policy_too(tmp_path: Path) -> None:
    """A rewriting that the gate refuses is no rewriting; the user's own prompt has passed it."""
    scene, enhancer = scene_with(tmp_path, "something forbidden", "something forbidden")
    await scene.run_until_idle()
    assert len(enhancer.calls) == 2
    assert [request.prompt for request in scene.engine.requests] == ["a lighthouse"]
    assert scene.reporter.last().metadata["prompt_enhanced"] is False


@story
async def test_a_bug_in_the_rewriter_costs_the_rewriting_and_not_the_job(tmp_path: Path) -> None:
    scene, _ = scene_with(tmp_path, RuntimeError("a bug"), RuntimeError("a bug"))
    await scene.run_until_idle()
    assert [request.prompt for request in scene.engine.requests] == ["a lighthouse"]
    assert "internal error" in scene.reporter.last().metadata["enhancement_problem"]


@story
async def test_the_rewriting_gets_no_more_time_than_the_job_has(tmp_path: Path) -> None:
    enhancer = FakeEnhancer("a better lighthouse")
    scene = Scene(tmp_path, queue="wan_queue", enhancer=enhancer, job_deadline=20.0)
    scene.submit(ENHANCED)
    await scene.run_until_idle()
    assert 0 < enhancer.calls[0].time_limit <= 20.0


@story
async def test_a_plain_job_is_not_rewritten(tmp_path: Path) -> None:
    enhancer = FakeEnhancer("a better lighthouse")
    scene = Scene(tmp_path, queue="wan_queue", enhancer=enhancer)
    scene.submit(payload("job-1", "image_fast"))
    await scene.run_until_idle()
    assert enhancer.calls == []
    assert "prompt_enhanced" not in scene.reporter.last().metadata


class _Clock:
    """Stands in for the `time` module; every look costs `step` seconds."""

    def __init__(self, step: float) -> None:
        self._now = 0.0
        self._step = step

    def monotonic(self) -> float:
        self._now += self._step
        return self._now


def test_both_tries_share_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhancement, "time", _Clock(step=20.0))
    enhancer = FakeEnhancer(FAILED, FAILED)
    asyncio.run(enhance_prompt(job_of(ENHANCED), enhancer, check=nothing_wrong, seed=7, limit_seconds=60.0))
    assert [call.time_limit for call in enhancer.calls] == [40.0, 20.0]


def test_a_first_try_that_used_up_the_limit_gets_no_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhancement, "time", _Clock(step=35.0))
    enhancer = FakeEnhancer(FAILED, "too late")
    result = asyncio.run(enhance_prompt(job_of(ENHANCED), enhancer, check=nothing_wrong, seed=7, limit_seconds=60.0))
    assert len(enhancer.calls) == 1
    assert (result.prompt, result.enhanced, result.problem) == ("a lighthouse", False, "the rewritten prompt is empty")


def test_without_any_time_the_original_prompt_is_used() -> None:
    enhancer = FakeEnhancer("too late")
    result = asyncio.run(enhance_prompt(job_of(ENHANCED), enhancer, check=nothing_wrong, seed=7, limit_seconds=0.0))
    assert enhancer.calls == []
    assert (result.prompt, result.enhanced, result.problem) == ("a lighthouse", False, "no time was left")

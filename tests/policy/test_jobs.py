"""The gate on the way of a job: on every text that reaches a model, and out of reach of whoever queues the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.policy.corpus import policy
from tests.runtime.scene import Scene, payload
from tests.support.fakes import FakeEnhancer
from tests.support.stories import story

REFUSED = "nude child"
SWITCHES: list[dict[str, Any]] = [
    {"skip_safety": True},
    {"safety_checker": False, "safety_check": "off", "disable_safety": 1},
    {"content_mode": "nsfw", "content_tier": "adult", "rating": "explicit"},
    {"adult_capable": False, "policy": "none", "content_policy": None},
    {"moderation": {"enabled": False}, "bypass": True, "user_role": "admin", "is_admin": True},
    {"env": {"OURVIDZ_POLICY": "off"}, "config_dir": "/tmp/empty"},
    {"picture_classifier": "builtins:bool", "OURVIDZ_PICTURE_CLASSIFIER": ""},
    {"age_verified": True, "consent": "given", "fictional": True},
]


def scene_of(folder: Path, *, adult_capable: bool = False, **changes: Any) -> Scene:
    return Scene(folder, policy=policy(), adult_capable=adult_capable, **changes)


async def assert_refused(scene: Scene) -> None:
    with structlog.testing.capture_logs() as logs:
        await scene.run_until_idle()
    assert scene.engine.requests == []
    failure = scene.failure()
    assert failure.metadata["error_type"] == "content_policy"
    assert failure.metadata["retryable"] is False
    said = f"{failure.error_message} {logs}"
    assert all(word not in said for word in ("nude", "child", "4711"))


@story
async def test_the_gate_stands_before_the_models(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    scene.submit(payload(prompt=f"{REFUSED} 4711"))
    await assert_refused(scene)


@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: next(iter(switch)))
@pytest.mark.parametrize("where", ["top", "metadata", "config"])
def test_no_field_of_a_job_switches_it_off(tmp_path: Path, switch: dict[str, Any], where: str) -> None:
    @story
    async def told() -> None:
        scene = scene_of(tmp_path)
        document = payload(prompt=f"{REFUSED} 4711")
        document.update(switch) if where == "top" else document[where].update(switch)
        scene.submit(document)
        await assert_refused(scene)

    told()


@story
async def test_the_prompt_in_the_metadata_is_gated_where_it_counts(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    scene.submit(payload(prompt="", metadata={"prompt": f"{REFUSED} 4711"}))
    await assert_refused(scene)


@story
async def test_an_adult_capable_checkpoint_gets_no_minor_at_all(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, adult_capable=True)
    scene.submit(payload(prompt="a child 4711 with a kite"))
    await assert_refused(scene)


@story
async def test_other_checkpoints_draw_families(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    scene.submit(payload(prompt="a park with families and children"))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1


@story
async def test_what_a_rewriter_makes_of_a_prompt_is_gated_with_its_negative_prompt(tmp_path: Path) -> None:
    enhancer = FakeEnhancer(REFUSED, "a nude woman, 30 years old")
    scene = scene_of(tmp_path, queue="wan_queue", enhancer=enhancer)
    scene.submit(payload("job-1", "image7b_fast_enhanced"))
    await scene.run_until_idle()
    assert [request.prompt for request in scene.engine.requests] == ["a nude woman, 30 years old"]


@story
async def test_a_negative_prompt_may_name_a_child(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, adult_capable=True)
    scene.submit(payload(prompt="nude woman, 30 years old", negative_prompt="child, teen"))
    await scene.run_until_idle()
    assert len(scene.engine.requests) == 1


@pytest.mark.parametrize(
    "document",
    [
        payload(prompt="nude woman", negative_prompt="(child 4711)-1.5"),
        payload(prompt="nude woman", negative_prompt="adult 4711, grown up"),
        payload(prompt="nude woman", negative_prompt="child 4711", metadata={"guidance_scale": 0.0}),
        payload(prompt="nude woman", negative_prompt="child 4711", metadata={"guidance_scale": 0.9}),
    ],
    ids=["weight_below_zero", "denies_adults", "no_guidance", "guidance_below_one"],
)
def test_a_negative_prompt_that_would_be_drawn_is_gated(tmp_path: Path, document: dict[str, Any]) -> None:
    @story
    async def told() -> None:
        scene = scene_of(tmp_path)
        scene.submit(document)
        await assert_refused(scene)

    told()

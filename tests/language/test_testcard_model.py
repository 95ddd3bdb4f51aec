"""The test card's language model: openly named, without any model, and good enough for every request."""

from __future__ import annotations

import pytest

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.engines.language.testcard import TestCardLanguageModel
from tests.language.scripted import service_over
from tests.support.stories import story


@story
async def test_a_prompt_comes_back_with_a_fixed_style(catalogue: Catalogue) -> None:
    service = service_over(TestCardLanguageModel())
    for name in ("video7b_fast_enhanced", "sdxl_image_fast"):
        enhanced = await service.enhance("a fox", catalogue[name], time_limit=10)
        assert enhanced.enhanced.startswith("a fox, test card")
        assert enhanced.model == "testcard"


@pytest.mark.parametrize(
    ("script", "scenes", "prompts"),
    [
        ("A fox wakes. It runs!", None, ["A fox wakes.", "It runs!"]),
        ("A fox wakes. It runs!", 3, ["A fox wakes.", "It runs!", "A fox wakes."]),
        ("A fox wakes. It runs!", 1, ["A fox wakes."]),
        ("…", None, ["…"]),
        ("?!", 2, ["?!", "?!"]),
    ],
)
def test_each_sentence_becomes_a_scene(
    catalogue: Catalogue, script: str, scenes: int | None, prompts: list[str]
) -> None:
    @story
    async def told() -> None:
        service = service_over(TestCardLanguageModel())
        made = await service.storyboard(script, catalogue["video_fast"], scenes=scenes, time_limit=10)
        assert len(made.scenes) == len(prompts)
        for scene, prompt in zip(made.scenes, prompts, strict=True):
            assert scene.prompt.startswith(prompt)

    told()

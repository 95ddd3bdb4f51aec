"""The language model that ships: it answers as it was taught, asked as the worker asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from transformers import PreTrainedTokenizerFast

from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from ourvidz_worker.engines.demo.models import WEIGHTS
from ourvidz_worker.engines.language.local_model import LocalLanguageModel
from ourvidz_worker.engines.volume.model_config import QwenModel
from ourvidz_worker.runtime.language.enhanced import Enhanced
from ourvidz_worker.runtime.language.service import PromptService
from ourvidz_worker.runtime.language.templates import Templates
from ourvidz_worker.runtime.language.warm_model import Sampling
from ourvidz_worker.runtime.policy.text_policy import TextPolicy
from scripts.demo_models.qwen.family import IGNORED, batch
from scripts.demo_models.qwen.measure import held_out
from scripts.demo_models.qwen.samples import NAMES, system_prompt

CONFIGS = Path(__file__).parents[2] / "configs"
FOLDER = WEIGHTS / "qwen"
TIME_LIMIT = 120.0


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(FOLDER)


@pytest.mark.parametrize(
    "text",
    ["", "a red boat", "  two\t\n\n boats ", "Ünïcode 日本 \x00\u200b", "🦊🦊 (x) {y}", "naïve's 12345 'quoted'"],
)
def test_every_text_is_made_of_tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("name", NAMES)
def test_a_system_prompt_is_few_tokens(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    assert len(tokenizer(system_prompt(name, scenes="exactly 3 scenes", seconds="5"))["input_ids"]) < 60


def test_only_answers_are_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    samples = [held_out("sdxl_image", 1), held_out("wan_image", 2)]
    _, wanted = batch(samples, tokenizer)
    for sample, row in zip(samples, wanted.tolist(), strict=True):
        assert tokenizer.decode([token for token in row if token != IGNORED]) == f"{sample.answer}<|im_end|>"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return parse_catalogue((CONFIGS / "job_types.toml").read_text(encoding="utf-8"))


Answer = TypeVar("Answer")


def asked(ask: Callable[[PromptService], Awaitable[Answer]]) -> Answer:
    async def answered() -> Answer:
        async with served() as service:
            return await ask(service)

    return asyncio.run(answered())


@asynccontextmanager
async def served() -> AsyncIterator[PromptService]:
    prompts = {file.stem: file.read_text(encoding="utf-8") for file in (CONFIGS / "prompts").iterdir()}
    model = LocalLanguageModel(QwenModel("demo-qwen", FOLDER.name, "float32", "cpu"), FOLDER.parent, lambda: None)
    policy = TextPolicy.parse([(CONFIGS / "policy" / "english.toml").read_text(encoding="utf-8")])
    service = PromptService(
        model,
        templates=Templates(prompts),
        policy=policy,
        adult_capable=lambda _: False,
        sampling=Sampling(max_new_tokens=256, temperature=0.7, top_p=0.9),
    )
    try:
        yield service
    finally:
        await service.close()


def test_the_shipped_model_expands_wishes_for_each_image_model(catalogue: Catalogue) -> None:
    wish = "Red lighthouse, two gulls, sunset"

    async def ask(service: PromptService) -> list[Enhanced]:
        return [
            await service.enhance(wish, catalogue[name], seed=7, time_limit=TIME_LIMIT)
            for name in ("sdxl_image_fast", "image_fast", "video_fast")
        ]

    for enhanced in asked(ask):
        text = enhanced.enhanced.lower()
        assert "red lighthouse" in text
        assert "gulls" in text
        assert not enhanced.compressed
        assert len(text) > 80


def test_the_shipped_model_keeps_words_of_other_worlds(catalogue: Catalogue) -> None:
    said = "a dragon in the library"
    job_type = catalogue["sdxl_image_fast"]

    enhanced = asked(lambda service: service.enhance(said, job_type, seed=3, time_limit=TIME_LIMIT))

    assert "dragon" in enhanced.enhanced
    assert len(enhanced.enhanced) > len(said) + 20


def test_the_shipped_model_writes_storyboards(catalogue: Catalogue) -> None:
    script = "The sun rises over the sea. A red boat sails to the left. A moon rises at night."
    job_type = catalogue["video_fast"]

    storyboard = asked(lambda service: service.storyboard(script, job_type, scenes=3, seed=5, time_limit=TIME_LIMIT))

    assert storyboard.attempts == 1
    told = [scene.prompt.lower() for scene in storyboard.scenes]
    assert len(told) == 3
    assert "sun" in told[0]
    assert "boat" in told[1]

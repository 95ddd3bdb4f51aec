"""The chat model in this process: what loading may cost, and what it leaves alone."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.engines.language.local_model import LocalLanguageModel
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.errors import (
    AnswerCutOff,
    AnswerTooLate,
    AnswerUnusable,
    ConfigurationError,
    ModelUnavailable,
    OutOfMemory,
)
from ourvidz_worker.ports import Message
from tests.language.scripted import service_over
from tests.support.stories import story
from tests.support.waiting import eventually

QUESTION: list[Message] = [{"role": "user", "content": "a fox"}]
Make = Callable[..., LocalLanguageModel]


@pytest.fixture
def make(cache_dir: Path) -> Make:
    def made(prepare: Callable[[], None] | None = None) -> LocalLanguageModel:
        return LocalLanguageModel(MODELS.qwen, cache_dir, prepare or (lambda: ensure_built(cache_dir, "qwen")))

    return made


async def said(model: LocalLanguageModel, *, seed: int = 1) -> str:
    answer = model.answer(QUESTION, seed=seed, max_new_tokens=8, temperature=0.7, top_p=0.9, time_limit=15)
    text = ""
    with suppress(AnswerCutOff):  # the tiny model comes to no end by itself
        async for piece in answer:
            text += piece
    return text


@story
async def test_other_random_numbers_are_left_alone(make: Make) -> None:
    """`generate` takes no generator: the seed is global."""
    model = make()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    await said(model)
    assert torch.equal(torch.rand(1), expected)


@story
async def test_damaged_weights_are_a_sentence_for_the_operator(cache_dir: Path, tmp_path: Path) -> None:
    ensure_built(cache_dir, "qwen")
    shutil.copytree(cache_dir / MODELS.qwen.path, tmp_path / "qwen")
    (tmp_path / "qwen" / "model.safetensors").write_bytes(b"half a file")
    model = LocalLanguageModel(replace(MODELS.qwen, path="qwen"), tmp_path, lambda: None)
    with pytest.raises(ConfigurationError, match=r"tiny-qwen at .*qwen cannot be loaded: one of its weight files is"):
        await model.load()


@story
async def test_a_load_goes_on_when_its_caller_is_cancelled(make: Make, cache_dir: Path) -> None:
    go_on = threading.Event()
    prepared: list[str] = []

    def prepare() -> None:
        assert go_on.wait(60)
        prepared.append(threading.current_thread().name)
        ensure_built(cache_dir, "qwen")

    model = make(prepare)
    loading = asyncio.create_task(model.load())
    await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    go_on.set()
    assert await said(model)
    assert len(prepared) == 1
    assert prepared[0].startswith("language")


@story
async def test_a_load_that_failed_can_be_repeated(make: Make, cache_dir: Path) -> None:
    problems: list[Exception] = [ConfigurationError("/models/qwen does not exist"), OutOfMemory("no memory is free")]

    def prepare() -> None:
        if problems:
            raise problems.pop(0)
        ensure_built(cache_dir, "qwen")

    model = make(prepare)
    with pytest.raises(ConfigurationError, match="/models/qwen does not exist"):
        await model.load()
    with pytest.raises(ModelUnavailable, match="no memory is free"):
        await model.load()
    await model.load()
    assert await said(model)


@story
async def test_weights_that_lack_a_tensor_are_not_made_up(make: Make, cache_dir: Path, tmp_path: Path) -> None:
    ensure_built(cache_dir, "qwen")
    lacking = tmp_path / "cache"
    shutil.copytree(cache_dir / MODELS.qwen.path, lacking / MODELS.qwen.path)
    weights = lacking / MODELS.qwen.path / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.norm.weight"]
    save_file(tensors, weights, {"format": "pt"})
    model = LocalLanguageModel(MODELS.qwen, lacking, lambda: None)
    with pytest.raises(ConfigurationError, match=r"lacks 1 of its tensors, among them model\.norm\.weight;"):
        await model.load()


@story
async def test_memory_that_runs_out_while_it_answers_is_no_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    await model.load()
    assert model._chat is not None

    def generate(**_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(model._chat.model, "generate", generate)
        with pytest.raises(ModelUnavailable, match="memory does not suffice"):
            await said(model)
    assert await said(model)


@story
async def test_a_question_that_waits_for_the_load_is_never_asked_once_it_is_over(make: Make, cache_dir: Path) -> None:
    go_on = threading.Event()

    def prepare() -> None:
        assert go_on.wait(60)
        ensure_built(cache_dir, "qwen")

    model = make(prepare)
    loading = asyncio.create_task(model.load())
    answer = model.answer(QUESTION, seed=1, max_new_tokens=8, temperature=0.7, top_p=0.9, time_limit=0.05)
    with pytest.raises(AnswerTooLate, match=r"within 0\.05 s"):
        await anext(answer)
    go_on.set()
    await loading
    assert model._chat is not None
    asked: list[object] = []

    def nothing(**question: Any) -> Any:
        asked.append(question)
        return question["input_ids"]

    model._chat.model.generate = nothing
    assert await said(model) == ""
    assert len(asked) == 1, "the second question alone"


@story
async def test_its_place_on_the_card_is_for_others_while_nobody_asks(make: Make) -> None:
    model = make()
    before = await said(model)
    assert model._residency.evict_idle() == ["qwen"]
    assert "qwen" not in model._residency.resident
    assert await said(model) == before
    assert model._residency.resident == ("qwen",)


@story
async def test_without_room_on_the_card_it_is_unavailable(make: Make) -> None:
    model = make()
    await model.load()
    model._residency._budget = model._residency.claimed_bytes
    model._residency._budget_is_set = True
    model._residency._patience = 0.0
    with pytest.raises(ModelUnavailable, match=r"the stage answer needs 0\.0 GB for qwen and 0\.5 GB to work in"):
        await said(model)


@story
async def test_a_closed_model_is_forgotten(make: Make) -> None:
    model = make()
    await model.load()
    await model.close()
    await eventually(lambda: model._chat is None, "the model to be forgotten")
    assert model._residency.resident == ()


@story
async def test_the_tiny_model_rewrites_and_honestly_divides_nothing(make: Make, catalogue: Catalogue) -> None:
    """Its words are random: a prompt may consist of any words, a storyboard may not."""
    service = service_over(make())
    enhanced = await service.enhance("a fox", catalogue["image7b_fast_enhanced"], seed=1, time_limit=15)
    assert enhanced.enhanced.isprintable()
    assert len(enhanced.enhanced.split()) == 64
    with pytest.raises(AnswerUnusable, match="it holds no JSON object"):
        await service.storyboard("a fox", catalogue["video_fast"], scenes=1, seed=1, time_limit=15)
    await service.close()

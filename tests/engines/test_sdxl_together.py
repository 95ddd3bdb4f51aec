"""SDXL jobs of one shape in one batch: each has the outcome that it would have had alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModelWithProjection

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.sdxl.prompt_encoding import PromptEncoder
from ourvidz_worker.errors import BadJob, Cancelled, OutOfMemory, PoisonedContext
from ourvidz_worker.ports import Generation, GenerationRequest, Order
from tests.engines.sdxl_studio import (
    MakeRequest,
    difference,
    drawn,
    ignore_steps,
    reference,
    replaced_method,
    sdxl_engine,
)

STEPS = 2
SMALL: dict[str, Any] = {"num_inference_steps": STEPS, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Engines) -> SdxlEngine:
    return sdxl_engine(tiny_sdxl)


@pytest.fixture
def job(make_request: MakeRequest) -> Callable[..., GenerationRequest]:
    def make(prompt: str, seed: int, **changes: Any) -> GenerationRequest:
        return make_request("sdxl_image_fast", prompt=prompt, seed=seed, **SMALL | changes)

    return make


def together(engine: SdxlEngine, requests: Sequence[GenerationRequest]) -> list[Generation]:
    outcomes = engine.generate_together([Order(request, ignore_steps) for request in requests])
    assert all(isinstance(outcome, Generation) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, Generation)]


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each pass through the UNet, two for each picture with guidance."""
    rows: list[int] = []
    replaced_method(monkeypatch, UNet2DConditionModel, "forward", lambda sample: rows.append(len(sample)))
    return rows


@pytest.mark.parametrize("solver", ["euler", "euler_a"])
def test_a_picture_is_the_same_in_company_as_alone(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], batches: list[int], solver: str
) -> None:
    requests = [
        job("a lighthouse", 7, solver=solver),
        job("a fox in the snow", 100, num_images=2, solver=solver),
        job("a red hat", 7, negative_prompt="sharp", solver=solver),
    ]
    shared = together(engine, requests)
    assert batches == [8] * STEPS
    for request, generation in zip(requests, shared, strict=True):
        alone = drawn(engine, request)
        assert generation.frames.shape == alone.shape
        assert difference(generation.frames, alone) <= 1
    assert difference(shared[0].frames, shared[2].frames) > 1


def test_what_is_said_of_one_prompt_is_not_said_of_another(
    engine: SdxlEngine, job: Callable[..., GenerationRequest]
) -> None:
    plain, weighted = together(engine, [job("a ship", 1), job("a (ship)1.2", 1)])
    assert "prompt_weights" not in plain.details
    assert weighted.details["prompt_weights"] == "applied"


def test_only_jobs_that_lose_nothing_have_a_shape_in_common(
    engine: SdxlEngine, job: Callable[..., GenerationRequest]
) -> None:
    one = engine.shape(job("a ship", 1))
    assert one is not None
    assert one == engine.shape(job("two hats on a fox", 9, num_images=3, negative_prompt="sharp"))
    others: list[dict[str, Any]] = [
        {"num_inference_steps": 3},
        {"guidance_scale": 2.0},
        {"width": 128},
        {"solver": "unipc"},
    ]
    assert all(engine.shape(job("a ship", 1, **changes)) != one for changes in others)
    assert engine.shape(job("a ship " * 40, 1)) != one, "the shorter text would be padded, and draw something else"
    assert engine.shape(job("a ship", 1, references=(reference("style"),))) is None


def test_jobs_of_several_shapes_are_drawn_one_after_the_other(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], batches: list[int]
) -> None:
    one, other = together(engine, [job("a ship", 1), job("a ship", 1, width=128)])
    assert batches == [2] * STEPS * 2
    assert (one.frames.shape[2], other.frames.shape[2]) == (64, 128)


def test_a_cancelled_job_leaves_and_the_others_go_on(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], batches: list[int]
) -> None:
    heard: list[str] = []

    def cancelled(done: int, total: int) -> None:
        heard.append(f"cancelled {done}/{total}")
        raise Cancelled

    orders = [
        Order(job("a ship", 1), cancelled),
        Order(job("a fox", 2), lambda done, total: heard.append(f"other {done}/{total}")),
    ]
    gone, other = engine.generate_together(orders)
    assert isinstance(gone, Cancelled)
    assert isinstance(other, Generation)
    assert heard == ["cancelled 1/2", "other 1/2", "other 2/2"]
    assert batches == [4] * STEPS
    batches.clear()
    outcomes = engine.generate_together([Order(job("a ship", 1), cancelled), Order(job("a fox", 2), cancelled)])
    assert [type(outcome) for outcome in outcomes] == [Cancelled, Cancelled]
    assert batches == [4], "nobody was left to draw for"


def test_a_prompt_that_cannot_be_read_fails_alone(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [job("a ship", 1), job("a fox", 2)]
    assert len({engine.shape(request) for request in requests}) == 1
    prompt_call = PromptEncoder.prompt_call

    def read(self: Any, prompt: str, *args: Any, **kwargs: Any) -> Any:
        reads.append(prompt)
        if prompt == "a ship" and reads.count(prompt) > 1:  # after its shape was asked for
            raise BadJob("unreadable", field="prompt")
        return prompt_call(self, prompt, *args, **kwargs)

    reads: list[str] = []
    monkeypatch.setattr(PromptEncoder, "prompt_call", read)
    bad, good = engine.generate_together([Order(request, ignore_steps) for request in requests])
    assert isinstance(bad, BadJob)
    assert isinstance(good, Generation)


def test_a_batch_that_does_not_fit_is_split_across_jobs(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_large(sample: torch.Tensor) -> None:
        if len(sample) > 4:  # two pictures with guidance
            raise torch.OutOfMemoryError("CUDA out of memory")

    requests = [job("a ship", 1, num_images=3), job("a fox", 2)]
    alone = [drawn(engine, request) for request in requests]
    replaced_method(monkeypatch, UNet2DConditionModel, "forward", refuse_large)
    shared = together(engine, requests)
    for generation, picture in zip(shared, alone, strict=True):
        assert difference(generation.frames, picture) <= 1
        assert generation.details["recovery_steps"].count("denoise:split_batch") == 1


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (ValueError("shapes cannot be multiplied"), ValueError),
    ],
)
def test_what_is_wrong_with_all_is_the_outcome_of_each(
    engine: SdxlEngine,
    job: Callable[..., GenerationRequest],
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
) -> None:
    def fail(_sample: torch.Tensor) -> None:
        raise raised

    replaced_method(monkeypatch, UNet2DConditionModel, "forward", fail)
    outcomes = engine.generate_together([Order(job(prompt, 1), ignore_steps) for prompt in ("a ship", "a fox")])
    assert [type(outcome) for outcome in outcomes] == [expected, expected]


def test_a_card_that_is_lost_is_lost_for_all(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_sample: torch.Tensor) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    replaced_method(monkeypatch, UNet2DConditionModel, "forward", fail)
    with pytest.raises(PoisonedContext):
        engine.generate_together([Order(job(prompt, 1), ignore_steps) for prompt in ("a ship", "a fox")])


def test_what_is_prepared_is_not_read_again(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Any] = []
    replaced_method(monkeypatch, CLIPTextModelWithProjection, "forward", passes.append)
    request = job("a prompt of a kind not seen before", 1, negative_prompt="nor this one")
    engine.prepare(request)
    assert len(passes) == 2
    drawn(engine, request)
    assert len(passes) == 2


def test_what_cannot_be_prepared_is_left_to_the_job(
    engine: SdxlEngine, job: Callable[..., GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PromptEncoder, "prompt_call", fail)
    request = job("another prompt", 1)
    engine.prepare(request)
    assert engine.shape(request) is None
    with pytest.raises(OutOfMemory):
        engine.generate(request, ignore_steps)


def test_before_it_is_loaded_an_engine_prepares_nothing(
    engine: SdxlEngine, job: Callable[..., GenerationRequest]
) -> None:
    fresh = SdxlEngine(engine._model, engine._models_dir, engine._prepare)
    fresh.prepare(job("a ship", 1))
    assert fresh.shape(job("a ship", 1)) is None
    assert fresh._loaded is None


def test_each_sees_what_becomes_of_its_own_picture_and_changes_nothing(
    engine: SdxlEngine, job: Callable[..., GenerationRequest]
) -> None:
    requests = [job("a ship", 1, num_images=3), job("a fox", 9)]
    seen: list[list[Any]] = [[], []]

    def looking(index: int) -> Order:
        return Order(requests[index], lambda _done, _total: seen[index].append(engine.glimpse(requests[index])))

    outcomes = engine.generate_together([looking(0), looking(1)])
    for request, outcome, glimpses in zip(requests, outcomes, seen, strict=True):
        assert isinstance(outcome, Generation)
        assert [(glimpse.shape, glimpse.dtype) for glimpse in glimpses] == [((4, 4, 3), "uint8")] * STEPS
        assert difference(glimpses[0], glimpses[1]) > 0
        assert difference(outcome.frames, drawn(engine, request)) <= 1
        assert engine.glimpse(request) is None  # it is done
    assert difference(seen[0][1], seen[1][1]) > 0


def test_nobody_sees_anothers_picture(engine: SdxlEngine, job: Callable[..., GenerationRequest]) -> None:
    request, equal = job("a ship", 1), job("a ship", 1)
    seen: list[Any] = []
    engine.generate(request, lambda _done, _total: seen.append(engine.glimpse(equal)))
    assert seen == [None] * STEPS

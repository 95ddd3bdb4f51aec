"""Blocks are compiled after a result, for the shapes that were seen, and run eagerly where that cannot be done.

The backend `eager` stands in for the compiler proper, which takes ten seconds for each kernel on a CPU: it runs what
was traced, so that shapes, guards and the way there are the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch._dynamo.utils import counters

from ourvidz_worker.engines import compilation
from ourvidz_worker.engines.compilation import CompiledBlocks
from ourvidz_worker.engines.tiny.shapes import SDXL
from ourvidz_worker.errors import Drained, OutOfMemory

CPU = torch.device("cpu")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, hidden_states: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        result: torch.Tensor = self.layer(hidden_states).relu() * scale
        return result


class Model(nn.Module):
    _repeated_blocks = ("Block",)
    compile_repeated_blocks = UNet2DConditionModel.compile_repeated_blocks

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            numbers = block(numbers, scale=0.5)
        return numbers


@pytest.fixture
def model() -> Iterator[Model]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        yield Model()
    torch._dynamo.reset()


def blocks(model: Any, backend: str = "eager") -> CompiledBlocks:
    return CompiledBlocks(model, "on", CPU, backend=backend)


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def seen(compiled: CompiledBlocks, model: Model, rows: int) -> torch.Tensor:
    numbers: torch.Tensor = compiled.run(rows, lambda: model(torch.ones(rows, 4)))
    return numbers


def test_the_first_of_a_shape_is_eager_and_the_next_compiled(model: Model) -> None:
    compiled, before = blocks(model), graphs()
    first = seen(compiled, model, 2)
    assert compiled.details == {"compile": "eager", "compile_reason": "the first of its shape"}
    assert graphs() == before, "nothing is compiled before the result is there"
    compiled.compile_later()
    compiled.finish()
    assert graphs() == before + 1, "three blocks share one piece of code"
    assert torch.equal(seen(compiled, model, 2), first)
    assert compiled.details == {"compile": "compiled"}
    assert graphs() == before + 1


def test_compiled_code_is_what_runs(model: Model) -> None:
    compiled = blocks(model)
    seen(compiled, model, 2)
    compiled.compile_later()
    compiled.finish()
    served: list[Any] = []

    def counted(code: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            served.append(code)
            return code(*args, **kwargs)

        return call

    compiled._code = {block: counted(code) for block, code in compiled._code.items()}
    seen(compiled, model, 2)
    assert len(served) == 3
    model(torch.ones(2, 4))
    assert len(served) == 3, "only inside of a run"


def test_another_shape_never_waits_for_a_compiler(model: Model) -> None:
    compiled, before = blocks(model), graphs()
    seen(compiled, model, 2)
    compiled.compile_later()
    compiled.finish()
    compiled.run(2, lambda: model(torch.ones(7, 4)))  # another one under the name of a known shape
    assert graphs() == before + 1
    compiled.run(None, lambda: model(torch.ones(5, 4)))
    assert compiled.details["compile"] == "eager"
    compiled.compile_later()
    compiled.finish()
    assert graphs() == before + 1


def test_shapes_are_compiled_without_end_only_up_to_a_limit(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "MOST_SHAPES", 1)
    compiled = blocks(model)
    seen(compiled, model, 2)
    seen(compiled, model, 3)
    assert compiled.details == {"compile": "eager", "compile_reason": "1 other shapes are compiled"}


def test_a_job_waits_for_the_kernel_at_hand_alone(model: Model) -> None:
    compiled = blocks(model)
    compiled.run("two kernels", lambda: (model(torch.ones(2, 4)), model(torch.ones(3, 4))))
    begun, wanted = threading.Event(), compiled._give_way
    compile_one = compiled._compile

    def slowly(kernel: Any) -> None:
        begun.set()
        assert wanted.wait(30)
        compile_one(kernel)

    compiled._compile = slowly  # type: ignore[method-assign]
    compiled.compile_later()
    assert begun.wait(30)
    compiled.run("two kernels", lambda: model(torch.ones(2, 4)))
    assert compiled.details == {"compile": "eager", "compile_reason": "still being compiled"}
    compiled._compile = compile_one  # type: ignore[method-assign]
    compiled.compile_later()
    compiled.finish()
    compiled.run("two kernels", lambda: model(torch.ones(2, 4)))
    assert compiled.details == {"compile": "compiled"}


def test_without_a_compiler_the_model_runs_eagerly_and_says_why(model: Model) -> None:
    def no_compiler(*_: object) -> Any:
        raise RuntimeError("no C++ compiler\nfound anywhere")

    compiled = blocks(model, no_compiler)  # type: ignore[arg-type]
    first = seen(compiled, model, 2)
    compiled.compile_later()
    compiled.finish()
    assert torch.equal(seen(compiled, model, 2), first)
    assert compiled.details["compile"] == "eager"
    assert compiled.details["compile_reason"].startswith("compile: ")
    assert "no C++ compiler" in compiled.details["compile_reason"]


def test_the_model_is_held_while_it_is_compiled_and_a_full_card_puts_it_off(model: Model) -> None:
    held: list[str] = []

    @contextmanager
    def holding() -> Iterator[None]:
        held.append("held")
        if len(held) == 1:
            raise OutOfMemory("no room")
        yield

    compiled = CompiledBlocks(model, "on", CPU, holding=holding, backend="eager")
    for outcome in ("the first of its shape", "the first of its shape", None):
        seen(compiled, model, 2)
        assert compiled.details.get("compile_reason") == outcome
        compiled.compile_later()
        compiled.finish()
    assert held == ["held", "held"]


def test_an_error_in_compiled_code_repeats_the_job_once_and_then_all_are_eager(model: Model) -> None:
    compiled, calls = blocks(model), []

    def broken(*_: object, **__: object) -> Any:
        calls.append(1)
        raise RuntimeError("misaligned address")

    first = seen(compiled, model, 2)
    compiled.compile_later()
    compiled.finish()
    compiled._code = dict.fromkeys(compiled._code, broken)
    for _ in range(2):
        assert torch.equal(seen(compiled, model, 2), first)
        assert compiled.details == {
            "compile": "eager",
            "compile_reason": "run: RuntimeError: misaligned address",
        }
    assert len(calls) == 1


@pytest.mark.parametrize("raised", [torch.OutOfMemoryError("CUDA out of memory"), Drained()])
def test_what_the_compiler_is_not_to_blame_for_passes(model: Model, raised: BaseException) -> None:
    def fail() -> None:
        raise raised

    compiled = blocks(model)
    seen(compiled, model, 2)
    compiled.compile_later()
    compiled.finish()
    with pytest.raises(type(raised)):
        compiled.run(2, fail)
    seen(compiled, model, 2)
    assert compiled.details == {"compile": "compiled"}


@pytest.mark.parametrize(("mode", "device"), [("off", "cuda"), ("off", "cpu"), ("auto", "cpu")])
def test_where_nothing_is_to_be_compiled_nothing_is_watched(model: Model, mode: Any, device: str) -> None:
    compiled = CompiledBlocks(model, mode, torch.device(device))
    seen(compiled, model, 2)
    assert not compiled._pending
    assert compiled.details == {}


def test_blocks_of_sdxl_that_are_called_alike_share_a_kernel() -> None:
    with torch.random.fork_rng(devices=[]):
        unet = UNet2DConditionModel(**SDXL["unet"]).eval()
    conditions = {"text_embeds": torch.ones(2, 64), "time_ids": torch.ones(2, 6)}
    compiled = blocks(unet)
    with torch.no_grad():
        compiled.run(2, lambda: unet(torch.ones(2, 4, 8, 8), 5, torch.ones(2, 77, 96), added_cond_kwargs=conditions))
    assert [len(kernel.blocks) for kernel in compiled._pending[2]] == [5, 6]
    assert not any(block._forward_pre_hooks for block in unet.modules())

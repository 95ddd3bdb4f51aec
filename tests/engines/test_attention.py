"""The attention of a model: its own choice, and SDPA where a kernel cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, WanTransformer3DModel
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from diffusers.models.attention_processor import AttnProcessor2_0

from ourvidz_worker.engines import attention
from ourvidz_worker.engines.attention import DispatchedAttention, set_attention
from ourvidz_worker.engines.tiny.shapes import SDXL, WAN

CPU = torch.device("cpu")
ANOTHER = AttentionBackendName._NATIVE_MATH  # a kernel of its own that loads everywhere


@pytest.fixture(scope="module")
def models() -> Iterator[tuple[Any, Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield UNet2DConditionModel(**SDXL["unet"]).eval(), WanTransformer3DModel(**WAN["transformer"]).eval()


@pytest.fixture
def unet(models: tuple[Any, Any]) -> Iterator[Any]:
    yield models[0]
    set_attention(models[0], "sdpa", CPU)


@pytest.fixture
def transformer(models: tuple[Any, Any]) -> Iterator[Any]:
    yield models[1]
    set_attention(models[1], "sdpa", CPU)


@pytest.fixture
def another_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "KERNELS", {"xformers": (AttentionBackendName.XFORMERS, ANOTHER)})


@torch.no_grad()
def noise_of(unet: Any, **extras: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    sample, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, 96, generator=generator)
    conditions = {"text_embeds": torch.ones(2, 64), "time_ids": torch.ones(2, 6)}
    noise: torch.Tensor = unet(sample, 500, text, added_cond_kwargs=conditions, return_dict=False, **extras)[0]
    return noise


def test_by_itself_a_model_computes_with_sdpa_and_is_left_as_it_is(unet: Any) -> None:
    before = unet.attn_processors
    chosen = set_attention(unet, "auto", CPU)
    assert chosen.details == {"attention": "sdpa"}
    assert {type(each) for each in unet.attn_processors.values()} == {AttnProcessor2_0}
    assert unet.attn_processors.keys() == before.keys()


@pytest.mark.parametrize("wanted", ["flash3", "sage", "xformers"])
def test_a_kernel_that_cannot_be_had_is_replaced_and_the_result_says_why(unet: Any, wanted: Any) -> None:
    """None of them is installed here, and none runs without a card."""
    chosen = set_attention(unet, wanted, CPU)
    assert chosen.name == "sdpa"
    assert chosen.fallback is not None
    assert chosen.fallback.startswith(f"{wanted}: ")
    assert chosen.details["attention_fallback"] == chosen.fallback
    assert {type(each) for each in unet.attn_processors.values()} == {AttnProcessor2_0}


@pytest.mark.usefixtures("another_kernel")
def test_a_unet_computes_through_the_kernel_and_gives_the_same(unet: Any) -> None:
    plain, masked = noise_of(unet), noise_of(unet, encoder_attention_mask=torch.ones(2, 77))
    assert set_attention(unet, "xformers", CPU).details == {"attention": "xformers"}
    processors = unet.attn_processors.values()
    assert {(type(each), each.backend) for each in processors} == {(DispatchedAttention, ANOTHER)}
    torch.testing.assert_close(noise_of(unet), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(noise_of(unet, encoder_attention_mask=torch.ones(2, 77)), masked)
    set_attention(unet, "sdpa", CPU)
    assert torch.equal(noise_of(unet), plain)


@pytest.mark.usefixtures("another_kernel")
def test_the_choice_of_one_model_does_not_reach_another(unet: Any, transformer: Any) -> None:
    before = _AttentionBackendRegistry.get_active_backend()
    set_attention(transformer, "xformers", CPU)
    backends = {block.attn1.processor._attention_backend for block in transformer.blocks}
    assert backends == {ANOTHER}
    assert _AttentionBackendRegistry.get_active_backend() == before
    assert {type(each) for each in unet.attn_processors.values()} == {AttnProcessor2_0}


def test_a_kernel_that_computes_something_else_is_not_used(unet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(**tensors: torch.Tensor) -> torch.Tensor:
        return tensors["value"] * torch.nan

    monkeypatch.setattr(attention, "KERNELS", {"sage": (ANOTHER,)})
    monkeypatch.setitem(_AttentionBackendRegistry._backends, ANOTHER, wrong)
    monkeypatch.setitem(_AttentionBackendRegistry._supported_arg_names, ANOTHER, {"value"})
    chosen = set_attention(unet, "sage", CPU)
    assert chosen.details == {
        "attention": "sdpa",
        "attention_fallback": "sage: _native_math gives wrong results on cpu",
    }

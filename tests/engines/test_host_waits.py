"""Between two steps nothing waits for the card, so that it always has the next command."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.sdxl import schedulers
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from tests.engines.pretended_card import PretendedCard
from tests.engines.sdxl_studio import MakeRequest, sdxl_engine

STEPS = 3


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Engines) -> SdxlEngine:
    return sdxl_engine(tiny_sdxl)


def waits(engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, solver: str) -> list[str]:
    """Those after the first step, which brings everything to the card, and until the last one."""
    card = PretendedCard(engine._ready().pipe.unet)
    kind, _ = schedulers.KINDS[solver]
    set_timesteps = kind.set_timesteps

    def on_the_card(self: Any, *args: Any, **kwargs: Any) -> None:
        set_timesteps(self, *args, **kwargs)
        card.put([self.timesteps])

    monkeypatch.setattr(kind, "set_timesteps", on_the_card)
    seen: list[list[str]] = []

    def on_step(done: int, total: int) -> None:
        assert total == STEPS
        seen.append(list(card.waits))

    size = {"width": 64, "height": 64, "num_images": 3}
    request = make_request("sdxl_image_fast", solver=solver, num_inference_steps=STEPS, **size)
    engine.prepare(request)
    with card:
        engine.generate(request, on_step)
    return seen[-1][len(seen[0]) :]


@pytest.mark.parametrize("solver", ["euler", "dpm++_2m", "ddim", "unipc"])
def test_no_step_waits_for_the_card(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    assert waits(engine, make_request, monkeypatch, solver) == []


def test_a_solver_that_adds_noise_sends_it_to_the_card_once_per_step(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is drawn on the CPU, so that a seed means the same picture on every card."""
    found = waits(engine, make_request, monkeypatch, "euler_a")
    assert 0 < len(found) < STEPS
    assert all(each.startswith("(3, 4, 4, 4) is sent") for each in found)


def test_what_diffusers_does_by_itself_would_be_found(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schedulers.KINDS, "ddim", (DDIMScheduler, schedulers.KINDS["ddim"][1]))
    assert len(waits(engine, make_request, monkeypatch, "ddim")) >= STEPS - 1


def test_ddim_gives_what_diffusers_own_gives(engine: SdxlEngine) -> None:
    config = engine._ready().pipe.scheduler.config
    kind, options = schedulers.KINDS["ddim"]
    ours, theirs = kind.from_config(config, **options), DDIMScheduler.from_config(config, **options)
    noise, sample = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for begin in (0, 1):
        for scheduler in (ours, theirs):
            scheduler.set_timesteps(STEPS)
        ours.set_begin_index(begin)
        for timestep in theirs.timesteps[begin:]:
            one, other = (each.step(noise, timestep, sample).prev_sample for each in (ours, theirs))
            assert torch.equal(one, other)

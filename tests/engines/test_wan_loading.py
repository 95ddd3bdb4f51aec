"""WAN weights from a folder, in the dtypes that `models.toml` asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline

from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.engines.wan.loading import load_wan
from ourvidz_worker.errors import ConfigurationError, OutOfMemory
from ourvidz_worker.ports import GenerationRequest, ReferenceImage

HALF = replace(MODELS.wan, dtype="bfloat16")


@pytest.fixture(autouse=True)
def _built(cache_dir: Path) -> None:
    ensure_built(cache_dir, "wan")


def test_modules_that_need_float32_keep_it_in_a_bfloat16_transformer(cache_dir: Path) -> None:
    """Never cast the WAN transformer as a whole: some of its modules stay in float32."""
    pipe = load_wan(HALF, cache_dir)
    weights = pipe.transformer.state_dict()
    assert pipe.text_encoder.dtype == torch.bfloat16
    assert pipe.vae.dtype == torch.float32
    assert weights["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    assert weights["blocks.0.scale_shift_table"].dtype == torch.float32
    assert weights["condition_embedder.time_embedder.linear_1.weight"].dtype == torch.float32


@pytest.mark.parametrize("vace", [MODELS.wan.vace, None], ids=["vace", "without vace"])
def test_a_bfloat16_model_draws_with_and_without_a_reference(
    vace: str | None,
    cache_dir: Path,
    make_request: Callable[..., GenerationRequest],
    make_reference: Callable[..., ReferenceImage],
) -> None:
    engine = WanEngine(replace(HALF, vace=vace), cache_dir, lambda: None, "static")
    start, style = make_reference("start"), make_reference("style")
    for references in ((), (start,), (start, style) if vace else (style,)):
        request = make_request("video_fast", references=references)
        frames = engine.generate(request, lambda done, total: None).frames
        assert frames.shape == (9, 256, 256, 3)
        assert frames.std() > 1


def test_a_card_that_fills_up_while_the_weights_are_loaded_is_no_damage(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers may find room at the same time, and only one of them get it."""

    def refuse(self: WanPipeline, device: torch.device) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(WanPipeline, "to", refuse)
    with pytest.raises(OutOfMemory, match="does not suffice for WAN"):
        load_wan(MODELS.wan, cache_dir)


def test_a_folder_without_weights_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"WAN weights at {tmp_path / 'nothing'} cannot be loaded"):
        load_wan(replace(MODELS.wan, path="nothing"), tmp_path)

"""Adapter files that are not what they should be fail the job that needs them, by name, and no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetUnionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from ourvidz_worker.contract.job import ReferenceRole
from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.sdxl import ip_adapters
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.tiny.adapters import controlnet_shape
from ourvidz_worker.engines.tiny.models import MODELS
from ourvidz_worker.engines.tiny.shapes import ADAPTERS as ADAPTERS_FOLDER
from ourvidz_worker.engines.tiny.shapes import SDXL
from ourvidz_worker.errors import AdapterUnusable, OutOfMemory, PoisonedContext
from tests.engines.sdxl_studio import ADAPTERS, MakeRequest, drawn, engine_with, ignore_steps, reference

ROLES: dict[str, ReferenceRole] = {
    "ip_adapter": "style",
    "ip_adapter_face": "character",
    "image_encoder": "style",
    "controlnet": "composition",
}
Weights = dict[str, torch.Tensor]
Damage = Callable[[Path], None]


def without(prefix: str) -> Damage:
    def damage(path: Path) -> None:
        save_file({key: value for key, value in load_file(path).items() if not key.startswith(prefix)}, path)

    return damage


def widened(prefix: str) -> Damage:
    """Weights for a model of another size."""

    def damage(path: Path) -> None:
        weights = load_file(path)
        save_file({key: torch.cat([v, v]) if key.startswith(prefix) else v for key, v in weights.items()}, path)

    return damage


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(path: Path) -> None:
    torch.save({"image_proj": {}, "ip_adapter": {}}, path)


def of_a_face_recogniser(path: Path) -> None:
    weights = load_file(path)
    faces = {"image_proj.proj.0.weight": torch.zeros(8, 4), "image_proj.norm.weight": torch.zeros(96)}
    save_file({key: v for key, v in weights.items() if key.startswith("ip_adapter.")} | faces, path)


def of_another_encoder(folder: Path) -> None:
    shape = {**SDXL["image_encoder"], "projection_dim": 28}
    CLIPVisionModelWithProjection(CLIPVisionConfig(**shape)).save_pretrained(folder)


def a_text_encoder(folder: Path) -> None:
    shutil.rmtree(folder)
    words = {"vocab_size": 99, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    CLIPTextModel(CLIPTextConfig(**SDXL["text_encoder"], **words)).save_pretrained(folder)


def without_its_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_its_middle(folder: Path) -> None:
    without("controlnet_mid_block")(folder / "diffusion_pytorch_model.safetensors")


def a_cut_file(folder: Path) -> None:
    cut_short(next(folder.glob("*.safetensors")))


def of_another_model(folder: Path) -> None:
    shape = {**controlnet_shape(), "cross_attention_dim": 64}
    ControlNetUnionModel(**shape, **SDXL["controlnet"]).save_pretrained(folder)


def a_unet(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_class_name": "UNet2DConditionModel"}))
    without("controlnet_cond_embedding")(folder / "diffusion_pytorch_model.safetensors")


@pytest.fixture
def adapters(tiny_sdxl: Engines, cache_dir: Path, tmp_path: Path) -> dict[str, Path]:
    """Copies of the tiny adapters that a test may damage."""
    tiny_sdxl.engine.load()
    copies = tmp_path / ADAPTERS_FOLDER
    shutil.copytree(cache_dir / MODELS.sdxl.path / ADAPTERS_FOLDER, copies)
    return {adapter: copies / Path(getattr(MODELS.sdxl, adapter)).name for adapter in ADAPTERS}


@pytest.fixture
def engine(tiny_sdxl: Engines, adapters: dict[str, Path]) -> SdxlEngine:
    assert isinstance(tiny_sdxl.engine, SdxlEngine)
    return engine_with(tiny_sdxl.engine, *ADAPTERS, files=adapters)


@pytest.mark.parametrize(
    ("adapter", "damage", "finding"),
    [
        ("ip_adapter", cut_short, "an IP-Adapter"),
        ("ip_adapter", pickled, "an IP-Adapter"),
        ("ip_adapter", without("image_proj"), "no IP-Adapter that reads CLIP"),
        ("ip_adapter", without("ip_adapter.1."), "an IP-Adapter"),
        ("ip_adapter", widened("ip_adapter.1.to_k_ip"), "an IP-Adapter"),
        ("ip_adapter", widened("image_proj.norm"), "an IP-Adapter"),
        ("ip_adapter", of_a_face_recogniser, "no IP-Adapter that reads CLIP"),
        ("ip_adapter_face", cut_short, "an IP-Adapter"),
        ("ip_adapter_face", without("image_proj.layers.2"), "an IP-Adapter"),
        ("image_encoder", of_another_encoder, "of width 24, and .* gives 28"),
        ("image_encoder", a_text_encoder, "an image encoder"),
        ("image_encoder", without_its_config, "an image encoder"),
        ("image_encoder", a_cut_file, "an image encoder"),
        ("controlnet", without_its_config, "a ControlNet"),
        ("controlnet", a_cut_file, "a ControlNet"),
        ("controlnet", without_its_middle, "a ControlNet"),
        ("controlnet", of_another_model, r"cross_attention_dim is \[64\]"),
        ("controlnet", a_unet, "a ControlNet"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_file_that_does_not_fit_is_named_and_plain_jobs_go_on(
    engine: SdxlEngine,
    adapters: dict[str, Path],
    make_request: MakeRequest,
    adapter: str,
    damage: Damage,
    finding: str,
) -> None:
    damage(adapters[adapter])
    plain = drawn(engine, make_request("sdxl_image_fast"))
    for _ in range(2):
        with pytest.raises(AdapterUnusable, match=finding) as caught:
            engine.generate(make_request("sdxl_image_fast", references=(reference(ROLES[adapter]),)), ignore_steps)
        assert str(adapters[adapter]) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert np.array_equal(drawn(engine, make_request("sdxl_image_fast")), plain)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_folder_or_file_without_weights_is_none(
    engine: SdxlEngine, adapters: dict[str, Path], make_request: MakeRequest, adapter: str
) -> None:
    """A download may be under way."""
    path = adapters[adapter]
    weights = path if path.is_file() else next(path.glob("*.safetensors"))
    weights.rename(weights.with_suffix(".part"))
    generation = engine.generate(make_request("sdxl_image_fast", references=(reference(ROLES[adapter]),)), ignore_steps)
    assert generation.details["reference_method"] in ("img2img", "ip_adapter_layout")


def test_a_file_that_was_replaced_is_read_by_the_next_job(
    engine: SdxlEngine, adapters: dict[str, Path], make_request: MakeRequest
) -> None:
    good = adapters["ip_adapter"].read_bytes()
    cut_short(adapters["ip_adapter"])
    request = make_request("sdxl_image_fast", references=(reference("style"),))
    with pytest.raises(AdapterUnusable):
        drawn(engine, request)
    adapters["ip_adapter"].write_bytes(good)
    assert engine.generate(request, ignore_steps).details["reference_method"] == "ip_adapter_style"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), PoisonedContext),
    ],
)
def test_a_card_in_trouble_is_not_blamed_on_the_file(
    engine: SdxlEngine,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
) -> None:
    def fail(path: Path) -> Any:
        raise raised

    monkeypatch.setattr(ip_adapters, "load_file", fail)
    with pytest.raises(expected):
        drawn(engine, make_request("sdxl_image_fast", references=(reference("style"),)))

"""WAN in its original layout: the same weights, the same clips, and a sentence for what is no such model."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel, WanVACETransformer3DModel
from safetensors.torch import load_file, save_file
from torch.nn import functional

from ourvidz_worker.engines.volume.kinds import Kind, kind_of
from ourvidz_worker.engines.volume.model_config import ModelsConfig, WanModel
from ourvidz_worker.engines.wan import components, layouts
from ourvidz_worker.engines.wan.engine import WanEngine
from ourvidz_worker.engines.wan.filling import empty_model, fill
from ourvidz_worker.engines.wan.loading import load_vace, load_wan
from ourvidz_worker.engines.wan.prompts import encode_text
from ourvidz_worker.errors import AdapterUnusable, ConfigurationError
from ourvidz_worker.ports import GenerationRequest, ReferenceImage
from tests.engines import wan_original

CONFIGS = Path(__file__).parents[2] / "configs"
ORIGINAL = WanModel("wan", "original", "float32", "float32", config="diffusers", vace="original-vace")
DIFFUSERS = replace(ORIGINAL, path="diffusers", vace="diffusers/vace")
WEIGHTS = ("transformer", "vae", "text_encoder")
SDXL = {
    "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1),
    "conditioner.embedders.1.model.ln_final.bias": torch.zeros(1),
}


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models_dir = tmp_path_factory.mktemp("models")
    wan_original.write_diffusers(models_dir / "diffusers")
    pipe = load_wan(DIFFUSERS, models_dir)
    wan_original.write_original(pipe, models_dir / "diffusers" / "tokenizer", models_dir / "original")
    (models_dir / "original-vace").mkdir()
    wan_original.save_transformer(load_vace(DIFFUSERS, models_dir), models_dir / "original-vace")
    return models_dir


@pytest.fixture
def spoilt(models_dir: Path, tmp_path: Path) -> Path:
    """A copy of everything, to be damaged."""
    shutil.copytree(models_dir, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_both_layouts_give_the_same_weights_in_the_same_dtypes(models_dir: Path, dtype: str) -> None:
    """Some modules stay in float32, each library by its own rule."""
    expected = load_wan(replace(DIFFUSERS, dtype=dtype), models_dir)
    found = load_wan(replace(ORIGINAL, dtype=dtype), models_dir)
    for name in WEIGHTS:
        assert_same_weights(getattr(expected, name), getattr(found, name))
        assert not getattr(found, name).training
    assert found.text_encoder.encoder.embed_tokens.weight is found.text_encoder.shared.weight
    assert torch.equal(found.transformer.rope.freqs_cos, expected.transformer.rope.freqs_cos)


@pytest.mark.parametrize("model", [DIFFUSERS, ORIGINAL], ids=["diffusers", "original"])
def test_weights_go_straight_to_their_device(
    model: WanModel, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the move of the whole pipeline at the end."""
    monkeypatch.setattr(WanPipeline, "to", lambda pipe, _device: pipe)
    pipe, vace = (load(replace(model, device="meta"), models_dir) for load in (load_wan, load_vace))
    for part in (*(getattr(pipe, name) for name in WEIGHTS), vace):
        assert {weight.device.type for weight in part.parameters()} == {"meta"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vace_is_read_from_both_layouts(models_dir: Path, dtype: str) -> None:
    expected = WanVACETransformer3DModel.from_pretrained(
        models_dir / "diffusers" / "vace", dtype=getattr(torch, dtype), local_files_only=True
    )
    for model in (ORIGINAL, DIFFUSERS):
        assert_same_weights(expected, load_vace(replace(model, dtype=dtype), models_dir))


@pytest.mark.parametrize("model", [DIFFUSERS, ORIGINAL], ids=["diffusers", "original"])
def test_vace_alone_is_completed_by_the_text_to_video_model(model: WanModel, spoilt: Path) -> None:
    own = {name: weight for name, weight in load_vace(model, spoilt).state_dict().items() if "vace_" in name}
    shared = load_wan(model, spoilt).transformer.state_dict()
    (file,) = layouts.transformer_files(spoilt / str(model.vace))
    save_file({name: weight for name, weight in load_file(file).items() if name.startswith("vace_")}, file)
    found = load_vace(model, spoilt).state_dict()
    assert found.keys() == own.keys() | shared.keys()
    assert all(torch.equal(found[name], weight) for name, weight in (shared | own).items())


def assert_same_weights(expected: Any, found: Any) -> None:
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert {name: weight.dtype for name, weight in ours.items()} == {
        name: weight.dtype for name, weight in theirs.items()
    }
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_both_layouts_draw_the_same_clips(
    models_dir: Path, make_request: Callable[..., GenerationRequest], make_reference: Callable[..., ReferenceImage]
) -> None:
    def drawn(model: WanModel) -> list[Any]:
        engine = WanEngine(model, models_dir, lambda: None, "static")
        small = {"width": 32, "height": 48, "num_frames": 5, "num_inference_steps": 2}
        requests = (
            make_request("video_fast", **small),
            make_request("video_fast", references=(make_reference("start"),), **small),
        )
        return [engine.generate(request, lambda done, total: None).frames for request in requests]

    for expected, found in zip(drawn(DIFFUSERS), drawn(ORIGINAL), strict=True):
        # Weights that stay in the file lie elsewhere in memory, and the last bit of a sum depends on that.
        assert np.abs(expected.astype(int) - found).max() <= 1
        assert found.std() > 1


def test_the_text_encoder_reads_as_wan_s_own_does(models_dir: Path) -> None:
    """The key map could swap two matrices of one shape; so the embeddings are computed from the file by hand."""
    pipe = load_wan(ORIGINAL, models_dir)
    ids = pipe.tokenizer("two gulls over the sea", return_tensors="pt").input_ids
    weights = torch.load(models_dir / "original" / layouts.TEXT_ENCODER, weights_only=True)
    expected = embeddings_by_hand(weights, ids[0], heads=4, layers=2)
    found = encode_text(pipe, "two gulls over the sea").embeds[0, : ids.shape[1]]
    assert torch.allclose(found, expected, atol=1e-5)


def embeddings_by_hand(weights: Mapping[str, torch.Tensor], ids: torch.Tensor, *, heads: int, layers: int) -> Any:
    """T5's encoder with gated feed-forward, and positions of its own in every layer."""

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weights[f"{name}.weight"]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ weights[f"{name}.weight"].T

    x = weights["token_embedding.weight"][ids]
    for layer in range(layers):
        block = f"blocks.{layer}"
        read = normed(x, f"{block}.norm1")
        query, key, value = (
            linear(read, f"{block}.attn.{part}").view(len(ids), heads, -1).transpose(0, 1) for part in "qkv"
        )
        places = weights[f"{block}.pos_embedding.embedding.weight"][buckets(len(ids))].permute(2, 0, 1)
        attended = (query @ key.transpose(1, 2) + places).softmax(-1) @ value
        x = x + linear(attended.transpose(0, 1).flatten(1), f"{block}.attn.o")
        read = normed(x, f"{block}.norm2")
        gate = functional.gelu(linear(read, f"{block}.ffn.gate.0"), approximate="tanh")
        x = x + linear(linear(read, f"{block}.ffn.fc1") * gate, f"{block}.ffn.fc2")
    return normed(x, "norm")


def buckets(length: int) -> torch.Tensor:
    """Of 32 buckets half are for later positions; near ones have their own, far ones share by logarithm up to 128."""
    distance = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    far = 8 + (torch.log(distance.abs().clamp(min=1) / 8) / math.log(128 / 8) * 8).long()
    near_or_far = torch.where(distance.abs() < 8, distance.abs(), far.clamp(max=15))
    return torch.where(distance > 0, 16, 0) + near_or_far


def test_diffusers_own_loader_reads_the_same(models_dir: Path) -> None:
    """A witness beside the inverse key maps of this test."""
    original, diffusers = models_dir / "original", models_dir / "diffusers"
    pipe = load_wan(ORIGINAL, models_dir)
    for name, model_class, file in (
        ("transformer", WanTransformer3DModel, layouts.TRANSFORMER),
        ("vae", AutoencoderKLWan, layouts.VAE),
    ):
        config = str(diffusers / name)
        assert_same_weights(model_class.from_single_file(str(original / file), config=config), getattr(pipe, name))


def test_the_files_are_told_by_names_that_the_published_ones_have(models_dir: Path) -> None:
    assert kind_of(models_dir / "original" / layouts.TRANSFORMER) == Kind.WAN
    assert kind_of(models_dir / "original-vace" / layouts.TRANSFORMER) == Kind.WAN_VACE
    names = load_file(models_dir / "original-vace" / layouts.TRANSFORMER).keys()
    assert {"vace_blocks.0.before_proj.weight", "vace_blocks.1.after_proj.bias", "blocks.0.self_attn.q.weight"} <= names
    vae = torch.load(models_dir / "original" / layouts.VAE, weights_only=True)
    assert {"decoder.middle.0.residual.0.gamma", "decoder.upsamples.4.shortcut.weight", "conv1.weight"} <= vae.keys()


def test_weights_of_the_right_dtype_are_not_copied(models_dir: Path) -> None:
    weights = load_file(models_dir / "diffusers" / "transformer" / layouts.TRANSFORMER)
    empty = empty_model(WanTransformer3DModel, models_dir / "diffusers" / "transformer")
    model = fill(empty, weights, torch.float32, torch.device("cpu"))
    assert model.proj_out.weight.data_ptr() == weights["proj_out.weight"].data_ptr()
    assert not model.proj_out.weight.requires_grad


def test_the_shipped_configurations_describe_the_published_files(models: ModelsConfig) -> None:
    """Tensors take up all of a file but its header, so the parameters must add up to the files' sizes."""
    published = {source.path: source for source in models.sources}

    def bytes_of(path: str, component: str) -> int:
        return sum(
            file.bytes or 0
            for file in published[path].files
            if file.name.startswith(f"{component}/") and file.name.endswith(".safetensors")
        )

    def parameters(component: components.Component, name: str) -> int:
        same = {"encoder.embed_tokens.weight"}
        model = empty_model(component.model_class, CONFIGS / "wan" / name)
        return sum(weight.numel() for key, weight in model.state_dict().items() if key not in same)

    plain = parameters(components.TRANSFORMER, "transformer")
    added = parameters(components.VACE, "vace") - plain
    for parameter_bytes, file_bytes in (
        (4 * plain, bytes_of("wan2.1-t2v-1.3b", "transformer")),
        (4 * parameters(components.VAE, "vae"), bytes_of("wan2.1-t2v-1.3b", "vae")),
        (4 * parameters(components.TEXT_ENCODER, "text_encoder"), bytes_of("wan2.1-t2v-1.3b", "text_encoder")),
        (4 * plain + 2 * added, bytes_of("wan2.1-vace-1.3b", "transformer")),  # what VACE adds is in half precision
    ):
        assert 0 < file_bytes - parameter_bytes < 0.0001 * file_bytes


def test_a_folder_is_told_by_what_lies_in_it(models_dir: Path, tmp_path: Path) -> None:
    assert layouts.layout_of(models_dir / "diffusers") == "diffusers"
    assert layouts.layout_of(models_dir / "diffusers" / "vace") == "diffusers"
    assert layouts.layout_of(models_dir / "original") == "original"
    assert layouts.layout_of(models_dir / "original-vace") == "original"
    assert layouts.layout_of(tmp_path) is None
    assert layouts.layout_of(tmp_path / "nothing") is None
    (models_dir / "original-vace" / "config.json").write_text('{"_class_name": "VaceWanModel"}')
    assert layouts.layout_of(models_dir / "original-vace") == "original", "the original layout has a config.json, too"


def refusal(models_dir: Path, model: WanModel = ORIGINAL) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_wan(model, models_dir)
    return str(caught.value)


def test_every_missing_file_is_named(spoilt: Path) -> None:
    shutil.rmtree(spoilt / "original" / "google")
    (spoilt / "original" / layouts.VAE).unlink()
    original = spoilt / "original"
    assert refusal(spoilt).splitlines() == [
        f"{original / layouts.VAE} is missing ([wan] path in models.toml); copy it again",
        f"{original / layouts.TOKENIZER} is missing ([wan] path in models.toml); copy it again",
    ]


@pytest.mark.parametrize("name", [layouts.TRANSFORMER, layouts.VAE, layouts.TEXT_ENCODER])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.9])
def test_a_truncated_file_is_a_sentence(spoilt: Path, name: str, share: float) -> None:
    path = spoilt / "original" / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    message = refusal(spoilt)
    assert message.startswith(f"{path} is ")
    assert message.endswith("([wan] path in models.toml); copy it again")


def test_an_archive_that_holds_anything_but_tensors_is_not_opened(spoilt: Path) -> None:
    path = spoilt / "original" / layouts.VAE
    torch.save({"weights": Path("/")}, path)
    assert refusal(spoilt) == (
        f"{path} is damaged, or holds something besides tensors, which may be code and is never run "
        "([wan] path in models.toml); copy it again, from a source that you trust"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "no weights")
    assert refusal(spoilt) == f"{path} is damaged, or no PyTorch archive ([wan] path in models.toml); copy it again"
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, path)
    assert refusal(spoilt) == f"{path} is no table of tensors ([wan] path in models.toml); copy it again"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda weights: SDXL, "looks like an SDXL"),
        (lambda weights: weights | {"vace_blocks.0.after_proj.bias": torch.zeros(1)}, "looks like a WAN VACE model"),
        (
            lambda weights: {name: _doubled(weight) for name, weight in weights.items()},
            "belongs to a model of another size: scale_shift_table is (2, 2, 12) where (1, 2, 12)",
        ),
        (lambda weights: weights | {"img_emb.proj.0.weight": torch.zeros(1)}, "looks like a WAN image-to-video model"),
        (lambda weights: weights | {"other.0.weight": torch.zeros(1)}, "1 tensors that the model does not know"),
        (
            lambda weights: {name: weights[name] for name in weights if "blocks.1" not in name},
            "lacks 27 of the model's 69 tensors",
        ),
    ],
    ids=["sdxl", "vace", "14b", "i2v", "unknown", "incomplete"],
)
def test_another_model_s_weights_are_a_sentence(
    spoilt: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], problem: str
) -> None:
    path = spoilt / "original" / layouts.TRANSFORMER
    save_file(change(load_file(path)), path)
    message = refusal(spoilt)
    assert message.startswith(f"{path} ")
    assert problem in message
    described = "" if "looks like" in problem else f" that {spoilt / 'diffusers' / 'transformer'} describes"
    assert message.endswith(f"([wan] path in models.toml); put a WAN video model there{described}")


def _doubled(weight: torch.Tensor) -> torch.Tensor:
    return torch.cat([weight, weight])


def test_the_original_layout_needs_a_configuration(models_dir: Path) -> None:
    assert "[wan] config is missing in models.toml" in refusal(models_dir, replace(ORIGINAL, config=None))


def test_what_is_no_vace_model_fails_the_job_and_not_the_worker(spoilt: Path) -> None:
    def refused(vace: str) -> str:
        with pytest.raises(AdapterUnusable) as caught:
            load_vace(replace(DIFFUSERS, vace=vace), spoilt)
        return str(caught.value)

    there = "([wan] vace in models.toml); put a WAN VACE model there"
    transformer = spoilt / "diffusers" / "transformer" / layouts.TRANSFORMER
    assert refused("diffusers") == f"{transformer} looks like a WAN video model {there}"
    vace = spoilt / "diffusers" / "vace"
    config = vace / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_layers": 1}))
    assert refused("diffusers/vace").startswith(
        f"{vace / layouts.TRANSFORMER} cannot be loaded: ValueError: VACE layers"
    )
    (vace / layouts.TRANSFORMER).unlink()
    assert refused("diffusers/vace").startswith(f"{vace / layouts.TRANSFORMER} is missing ([wan] vace")
    with pytest.raises(AdapterUnusable, match=r"\[wan\] config is missing in models\.toml"):
        load_vace(replace(ORIGINAL, config=None), spoilt)

"""Missing weights are found before anything is loaded, each with the path looked at and the cure."""

from __future__ import annotations

import errno
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ourvidz_worker.engines.volume.kinds import Kind
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.engines.volume.tiers import Tier
from ourvidz_worker.engines.volume.weights import (
    SCHEDULER,
    SDXL_COMPONENTS,
    TOKENIZERS,
    WAN_COMPONENTS,
    hub_snapshot,
    missing_adapters,
    missing_weights,
    require_weights,
)
from ourvidz_worker.engines.wan.layouts import TEXT_ENCODER, TOKENIZER, TRANSFORMER, VAE
from ourvidz_worker.errors import ConfigurationError
from tests.volume.weight_files import DIFFUSERS, TELLING, write_kind, write_text, write_weights


def write_pipeline(folder: Path, components: tuple[str, ...], class_name: str) -> None:
    write_text(folder / "model_index.json", json.dumps({"_class_name": class_name}))
    for name in components:
        if name in TOKENIZERS:
            write_text(folder / name / "tokenizer.json")
        elif name == SCHEDULER:
            write_text(folder / name / "scheduler_config.json")
        else:
            write_text(folder / name / "config.json")
            write_kind(folder / name / "model.safetensors", Kind.UNKNOWN)


def write_wan(models: ModelsConfig, models_dir: Path, *, without: str | None = None) -> Path:
    folder = models_dir / models.wan.path
    write_pipeline(folder, tuple(name for name in WAN_COMPONENTS if name != without), "WanPipeline")
    return folder


def write_original_wan(folder: Path) -> None:
    write_kind(folder / TRANSFORMER, Kind.WAN)
    for name in (VAE, TEXT_ENCODER):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("archive/data.pkl", b"weights")
    write_text(folder / TOKENIZER / "tokenizer.json")


def write_language_model(folder: Path) -> None:
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        write_text(folder / name)
    write_kind(folder / "model.safetensors", Kind.LANGUAGE_MODEL)


def without_sources(models: ModelsConfig) -> ModelsConfig:
    return replace(models, sources=())


def test_an_empty_models_folder_misses_everything(models: ModelsConfig, tmp_path: Path) -> None:
    [sdxl] = missing_weights(models, tmp_path, "sdxl")
    assert str(tmp_path / models.sdxl.path) in sdxl
    assert "put the weights there, or set OURVIDZ_MODELS_DIR" in sdxl
    wan, qwen = missing_weights(models, tmp_path, "wan")
    assert "[wan] path" in wan
    assert "[qwen] path" in qwen


def test_what_has_a_source_can_be_fetched(models: ModelsConfig, tmp_path: Path) -> None:
    wan, qwen = missing_weights(models, tmp_path, "wan")
    assert "; run `ourvidz-worker models fetch wan.path`, or set OURVIDZ_MODELS_DIR" in wan
    assert "; run `ourvidz-worker models fetch qwen.path`" in qwen
    assert all("fetch" not in problem for problem in missing_weights(without_sources(models), tmp_path, "wan"))


def test_complete_weights_have_no_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write_kind(tmp_path / models.sdxl.path, Kind.SDXL)
    write_wan(models, tmp_path)
    entry = tmp_path / models.qwen.path
    write_language_model(entry / "snapshots" / "abc")
    write_text(entry / "refs" / "main", "abc\n")
    assert missing_weights(models, tmp_path, "sdxl") == []
    assert missing_weights(models, tmp_path, "wan") == []
    require_weights(models, tmp_path, "wan")


def test_an_empty_checkpoint_file_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write_text(tmp_path / models.sdxl.path, "")
    [problem] = missing_weights(models, tmp_path, "sdxl")
    assert problem.endswith("is empty ([sdxl] path in models.toml); copy it again")


def test_a_truncated_checkpoint_file_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    path = tmp_path / models.sdxl.path
    write_kind(path, Kind.SDXL)
    path.write_bytes(path.read_bytes()[:-1000])
    [problem] = missing_weights(models, tmp_path, "sdxl")
    assert problem.startswith(f"{path} is truncated: its header promises")


@pytest.mark.parametrize("kind", [Kind.SD15, Kind.LORA, Kind.VAE, Kind.WAN, Kind.SDXL_REFINER, Kind.UNET])
def test_another_architecture_is_named(models: ModelsConfig, tmp_path: Path, kind: Kind) -> None:
    path = tmp_path / models.sdxl.path
    write_kind(path, kind)
    [problem] = missing_weights(models, tmp_path, "sdxl")
    assert problem == f"{path} looks like {kind} ([sdxl] path in models.toml); point the key at an SDXL checkpoint"


def test_a_folder_a_config_and_a_vae_are_looked_into(models: ModelsConfig, tmp_path: Path) -> None:
    folders = replace(models, sdxl=replace(models.sdxl, path="folder", vae="vae"))
    write_pipeline(tmp_path / "folder", SDXL_COMPONENTS, "StableDiffusionXLPipeline")
    (tmp_path / "folder" / "unet" / "model.safetensors").unlink()
    (tmp_path / "vae").mkdir()
    unet, vae = missing_weights(folders, tmp_path, "sdxl")
    assert f"{tmp_path / 'folder' / 'unet'} holds no .safetensors weights" in unet
    assert "[sdxl] vae" in vae


def test_a_single_file_needs_a_configuration(models: ModelsConfig, tmp_path: Path) -> None:
    write_kind(tmp_path / models.sdxl.path, Kind.SDXL)
    own = replace(models, sdxl=replace(models.sdxl, config="mine"))
    [problem] = missing_weights(own, tmp_path, "sdxl")
    assert f"{tmp_path / 'mine'} has no model_index.json ([sdxl] config in models.toml)" in problem
    write_text(tmp_path / "mine" / "model_index.json")
    assert missing_weights(own, tmp_path, "sdxl") == []


def test_a_vae_may_be_a_file_or_a_folder(models: ModelsConfig, tmp_path: Path) -> None:
    write_kind(tmp_path / models.sdxl.path, Kind.SDXL)
    write_kind(tmp_path / "vae.safetensors", Kind.VAE)
    write_kind(tmp_path / "vae" / "model.safetensors", Kind.VAE)
    write_text(tmp_path / "vae" / "config.json")
    for vae in ("vae.safetensors", "vae"):
        assert missing_weights(replace(models, sdxl=replace(models.sdxl, vae=vae)), tmp_path, "sdxl") == []
    (tmp_path / "vae" / "config.json").unlink()
    [problem] = missing_weights(replace(models, sdxl=replace(models.sdxl, vae="vae")), tmp_path, "sdxl")
    assert "config.json is missing" in problem


def test_adapters_that_are_missing_are_told_apart(models: ModelsConfig, tmp_path: Path) -> None:
    write_kind(tmp_path / models.sdxl.path, Kind.SDXL)
    sdxl = replace(models.sdxl, image_encoder=None, ip_adapter_face=None)
    adapters = replace(models, sdxl=replace(sdxl, ip_adapter="ip.safetensors", controlnet="controlnet"))
    assert missing_weights(adapters, tmp_path, "sdxl") == []
    assert [problem.split(" (")[0] for problem in missing_adapters(adapters, tmp_path, "sdxl")] == [
        f"{tmp_path / 'ip.safetensors'} does not exist",
        f"{tmp_path / 'controlnet'} does not exist",
    ]
    write_kind(tmp_path / "ip.safetensors", Kind.IP_ADAPTER_SD15)
    write_kind(tmp_path / "controlnet" / "model.safetensors", Kind.CONTROLNET_UNION)
    write_text(tmp_path / "controlnet" / "config.json")
    [problem] = missing_adapters(adapters, tmp_path, "sdxl")
    assert f"looks like {Kind.IP_ADAPTER_SD15} ([sdxl] ip_adapter in models.toml); point the key at an IP" in problem


def test_a_file_of_another_format_is_named(models: ModelsConfig, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.ckpt").write_bytes(b"PK\x03\x04" + bytes(100))
    ckpt = replace(models, sdxl=replace(models.sdxl, path="checkpoint.ckpt"))
    [problem] = missing_weights(ckpt, tmp_path, "sdxl")
    assert "checkpoint.ckpt is no .safetensors file but a PyTorch archive, which could run code when it is" in problem
    assert problem.endswith("read ([sdxl] path in models.toml); put a .safetensors file there")


def test_a_pipeline_of_another_kind_is_named(models: ModelsConfig, tmp_path: Path) -> None:
    folder = write_wan(models, tmp_path)
    write_text(folder / "model_index.json", '{"_class_name": "WanVACEPipeline"}')
    write_language_model(tmp_path / models.qwen.path)
    [problem] = missing_weights(models, tmp_path, "wan")
    assert f"{folder} holds a WanVACEPipeline ([wan] path" in problem
    write_text(folder / "model_index.json", "[]")
    [problem] = missing_weights(models, tmp_path, "wan")
    assert "model_index.json is damaged" in problem


def test_wan_may_lie_in_its_original_layout(models: ModelsConfig, tmp_path: Path) -> None:
    folder = tmp_path / models.wan.path
    write_original_wan(folder)
    write_language_model(tmp_path / models.qwen.path)
    assert missing_weights(models, tmp_path, "wan") == []
    (folder / VAE).write_bytes((folder / VAE).read_bytes()[:-9])
    (folder / TOKENIZER / "tokenizer.json").unlink()
    assert f"{folder / TOKENIZER} holds no vocabulary" in missing_weights(models, tmp_path, "wan")[1]
    (folder / TOKENIZER).rmdir()
    vae, tokenizer = missing_weights(models, tmp_path, "wan")
    assert f"{folder / VAE} is truncated, or no PyTorch archive ([wan] path in models.toml); copy" in vae
    assert f"{folder / TOKENIZER} is missing" in tokenizer


def test_a_vace_transformer_is_no_text_to_video_model(models: ModelsConfig, tmp_path: Path) -> None:
    write_original_wan(tmp_path / models.wan.path)
    write_kind(tmp_path / models.wan.path / TRANSFORMER, Kind.WAN_VACE)
    assert f"looks like {Kind.WAN_VACE}" in missing_weights(models, tmp_path, "wan")[0]


@pytest.mark.parametrize("inside", ["transformer", "."])
def test_vace_is_a_transformer_in_either_layout(models: ModelsConfig, tmp_path: Path, inside: str) -> None:
    vace = replace(models, wan=replace(models.wan, vace="vace"))
    assert "vace does not exist ([wan] vace" in missing_adapters(vace, tmp_path, "wan")[0]
    (tmp_path / "vace").mkdir()
    assert "vace holds no transformer" in missing_adapters(vace, tmp_path, "wan")[0]
    write_kind(tmp_path / "vace" / TRANSFORMER, Kind.WAN_VACE)
    assert missing_adapters(vace, tmp_path, "wan") == []
    (tmp_path / "vace" / TRANSFORMER).unlink()
    write_text(tmp_path / "vace" / inside / "config.json", '{"_class_name": "WanVACETransformer3DModel"}')
    assert "holds no .safetensors weights" in missing_adapters(vace, tmp_path, "wan")[0]
    write_weights(tmp_path / "vace" / inside / "model.safetensors", DIFFUSERS[Kind.WAN])
    assert f"looks like {Kind.WAN} ([wan] vace" in missing_adapters(vace, tmp_path, "wan")[0]
    write_weights(tmp_path / "vace" / inside / "model.safetensors", DIFFUSERS[Kind.WAN_VACE])
    assert missing_adapters(vace, tmp_path, "wan") == []


def test_a_folder_that_is_no_pipeline_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write_text(tmp_path / models.wan.path / "readme.txt")
    assert "has no model_index.json" in missing_weights(models, tmp_path, "wan")[0]


def test_a_missing_tokenizer_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    folder = write_wan(models, tmp_path, without="tokenizer")
    assert str(folder / "tokenizer") in missing_weights(models, tmp_path, "wan")[0]


def test_what_the_libraries_would_miss_or_make_up_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    """Without its words a tokenizer loads all the same, and reads nothing of a prompt."""
    folder = write_wan(models, tmp_path)
    write_language_model(tmp_path / models.qwen.path)
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "scheduler" / "scheduler_config.json").unlink()
    (folder / "vae" / "config.json").unlink()
    (tmp_path / models.qwen.path / "tokenizer.json").unlink()
    write_weights(folder / "transformer" / "model.safetensors", DIFFUSERS[Kind.WAN_VACE])
    transformer, vae, tokenizer, scheduler, language = missing_weights(models, tmp_path, "wan")
    assert f"{folder / 'transformer'} looks like {Kind.WAN_VACE} ([wan] path in models.toml); put a WAN" in transformer
    assert f"{folder / 'vae' / 'config.json'} is missing" in vae
    assert f"{folder / 'tokenizer'} holds no tokenizer.json or other vocabulary" in tokenizer
    assert f"{folder / 'scheduler' / 'scheduler_config.json'} is missing" in scheduler
    assert f"{tmp_path / models.qwen.path} holds no tokenizer.json or other vocabulary" in language


@pytest.mark.parametrize(
    "name", ["model.fp16.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.safetensors"]
)
def test_weights_of_a_name_that_is_never_loaded_are_a_finding(models: ModelsConfig, tmp_path: Path, name: str) -> None:
    write_language_model(tmp_path / models.qwen.path)
    weights = tmp_path / models.qwen.path / "model.safetensors"
    weights.rename(weights.with_name(name))
    [problem] = missing_weights(without_sources(models), tmp_path, "qwen")
    assert f"holds {name}, and only diffusion_pytorch_model.safetensors or model.safetensors, or shards" in problem
    assert problem.endswith("; rename it, or copy it again")


def test_a_link_whose_target_is_gone_is_named(models: ModelsConfig, tmp_path: Path) -> None:
    """As in a hub entry whose blobs were cleared."""
    write_language_model(tmp_path / models.qwen.path)
    weights = tmp_path / models.qwen.path / "model.safetensors"
    weights.unlink()
    weights.symlink_to("../blobs/gone")
    [problem] = missing_weights(models, tmp_path, "qwen")
    assert f"{weights} is a link that leads nowhere ([qwen] path in models.toml); run" in problem


def test_weights_that_may_not_be_read_are_a_finding(
    models: ModelsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / models.sdxl.path
    write_kind(path, Kind.SDXL)

    def refuse(path: Path, *_arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert missing_weights(models, tmp_path, "sdxl") == [
        f"{path} cannot be read (Permission denied) ([sdxl] path in models.toml); let this user read it"
    ]


@pytest.mark.parametrize(
    ("left_out", "problem"),
    [
        ("first_stage_model.", "holds no VAE ([sdxl] path in models.toml); set [sdxl] vae to one, or point"),
        ("conditioner.embedders.0.", "holds no first text encoder ([sdxl] path in models.toml); point the key at"),
    ],
)
def test_a_checkpoint_must_be_whole(models: ModelsConfig, tmp_path: Path, left_out: str, problem: str) -> None:
    shapes = {name: shape for name, shape in TELLING[Kind.SDXL].items() if not name.startswith(left_out)}
    write_weights(tmp_path / models.sdxl.path, shapes)
    [said] = missing_weights(models, tmp_path, "sdxl")
    assert said.startswith(f"{tmp_path / models.sdxl.path} {problem}")
    write_kind(tmp_path / "vae.safetensors", Kind.VAE)
    own_vae = replace(models, sdxl=replace(models.sdxl, vae="vae.safetensors"))
    assert len(missing_weights(own_vae, tmp_path, "sdxl")) == (0 if "first_stage" in left_out else 1)


def test_a_file_in_the_place_of_a_folder_and_the_other_way_round(models: ModelsConfig, tmp_path: Path) -> None:
    write_kind(tmp_path / models.wan.path, Kind.WAN)
    (tmp_path / models.sdxl.path).mkdir(parents=True)
    write_kind(tmp_path / "unnamed", Kind.SDXL)
    [wan] = missing_weights(models, tmp_path, "wan", own_language_model=False)
    assert f"{tmp_path / models.wan.path} is a file, and a folder is needed" in wan
    [sdxl] = missing_weights(models, tmp_path, "sdxl")
    assert f"{tmp_path / models.sdxl.path} is a folder ([sdxl] path in models.toml); point" in sdxl
    [unnamed] = missing_weights(replace(models, sdxl=replace(models.sdxl, path="unnamed")), tmp_path, "sdxl")
    assert f"{tmp_path / 'unnamed'} does not end in .safetensors, which is its format" in unnamed


def test_a_missing_shard_is_named(models: ModelsConfig, tmp_path: Path) -> None:
    entry = tmp_path / models.qwen.path
    write_language_model(entry)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    write_text(entry / "model.safetensors.index.json", json.dumps(index))
    assert "lacks model-2.safetensors" in missing_weights(models, tmp_path, "qwen")[0]
    write_kind(entry / "model-2.safetensors", Kind.UNKNOWN)
    assert "lacks 2 of the 2 tensors that its index names, a to" in missing_weights(models, tmp_path, "qwen")[0]
    write_text(entry / "model.safetensors.index.json", "{")
    assert "is damaged" in missing_weights(models, tmp_path, "qwen")[0]


def test_a_truncated_shard_is_named(models: ModelsConfig, tmp_path: Path) -> None:
    folder = write_wan(models, tmp_path)
    shard = folder / "transformer" / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert f"{shard} is truncated" in missing_weights(models, tmp_path, "wan")[0]


def test_a_language_model_without_its_tokenizer_is_a_finding(models: ModelsConfig, tmp_path: Path) -> None:
    write_language_model(tmp_path / models.qwen.path)
    (tmp_path / models.qwen.path / "tokenizer_config.json").unlink()
    assert "tokenizer_config.json is missing" in missing_weights(models, tmp_path, "qwen")[0]


def test_a_cache_entry_leads_to_its_snapshot(tmp_path: Path) -> None:
    write_text(tmp_path / "snapshots" / "old" / "config.json")
    write_text(tmp_path / "snapshots" / "new" / "config.json")
    write_text(tmp_path / "refs" / "main", "old")
    assert hub_snapshot(tmp_path) == tmp_path / "snapshots" / "old"
    (tmp_path / "snapshots" / "old" / "config.json").unlink()
    (tmp_path / "snapshots" / "old").rmdir()
    (tmp_path / "refs" / "main").write_bytes(b"\xff\x00")
    assert hub_snapshot(tmp_path) == tmp_path / "snapshots" / "new"


def test_a_cache_entry_without_a_reference_leads_to_some_snapshot(tmp_path: Path) -> None:
    write_text(tmp_path / "snapshots" / "only" / "config.json")
    assert hub_snapshot(tmp_path) == tmp_path / "snapshots" / "only"
    assert hub_snapshot(tmp_path / "snapshots" / "only") == tmp_path / "snapshots" / "only"


def test_requiring_missing_weights_lists_all_findings(models: ModelsConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_weights(models, tmp_path, "wan")
    assert len(caught.value.problems) == 2


def test_the_weights_of_the_chosen_tier_are_needed_like_any_others(models: ModelsConfig, tmp_path: Path) -> None:
    tier = Tier("few", distilled_lora="few.safetensors", num_inference_steps=8, guidance_scale=1.0)
    chosen = replace(models, wan=replace(models.wan, tier=tier))
    write_wan(chosen, tmp_path)
    [finding] = missing_weights(chosen, tmp_path, "wan", own_language_model=False)
    assert finding.startswith(str(tmp_path / "few.safetensors"))
    assert "[wan] tier.distilled_lora" in finding
    write_kind(tmp_path / "few.safetensors", Kind.LORA)
    assert missing_weights(chosen, tmp_path, "wan", own_language_model=False) == []

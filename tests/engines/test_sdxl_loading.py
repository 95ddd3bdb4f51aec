"""SDXL weights from a single file and from a folder, in the dtypes that `models.toml` asks for."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.sdxl.loading import load_sdxl
from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.volume.kinds import tensors_of
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.engines.volume.safetensors_header import read_tensors
from ourvidz_worker.errors import ConfigurationError, OutOfMemory, PoisonedContext
from ourvidz_worker.ports import GenerationRequest
from tests.engines.single_file import write_single_file, write_single_vae

MakeRequest = Callable[..., GenerationRequest]
SHIPPED = Path(__file__).parents[2] / "configs" / "sdxl"
SHIPPED_MODELS: tuple[tuple[Any, str], ...] = ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"))
PUBLISHED = {
    "vocab.json": "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349",
    "merges.txt": "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a",
}
WEIGHTS = ("unet", "vae", "text_encoder", "text_encoder_2")
SINGLE = SdxlModel("single", "model.safetensors", dtype="float32", vae_dtype="float32", config="config")


@pytest.fixture(scope="module")
def folder(cache_dir: Path) -> Path:
    ensure_built(cache_dir, "sdxl")
    return cache_dir / MODELS.sdxl.path


@pytest.fixture(scope="module")
def from_folder(folder: Path) -> Any:
    return load_sdxl(replace(MODELS.sdxl, path=folder.name), folder.parent)


@pytest.fixture(scope="module")
def models_dir(folder: Path, from_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the original layout beside a folder with configurations and no weights."""
    models_dir = tmp_path_factory.mktemp("models")
    write_single_file(from_folder, models_dir / "model.safetensors")
    shutil.copytree(folder, models_dir / "config", ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(folder / "vae", models_dir / "vae")
    return models_dir


def test_a_single_file_gives_the_same_weights_as_the_folder(from_folder: Any, models_dir: Path) -> None:
    pipe = load_sdxl(SINGLE, models_dir)
    for name in WEIGHTS:
        expected, found = getattr(from_folder, name).state_dict(), getattr(pipe, name).state_dict()
        assert expected.keys() == found.keys(), name
        assert all(torch.equal(expected[key], found[key]) for key in expected), name


def test_a_folder_gives_the_weights_that_the_libraries_read(folder: Path, from_folder: Any) -> None:
    plain = StableDiffusionXLPipeline.from_pretrained(str(folder), local_files_only=True)
    for name in WEIGHTS:
        expected, found = getattr(plain, name).state_dict(), getattr(from_folder, name).state_dict()
        assert expected.keys() == found.keys(), name
        assert all(torch.equal(expected[key], found[key]) for key in expected), name


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_weights_go_straight_to_their_device(
    kind: str, folder: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the move of the whole pipeline at the end, which is left for what comes without its weights."""
    monkeypatch.setattr(StableDiffusionXLPipeline, "to", lambda pipe, _device: pipe)
    model, root = (MODELS.sdxl, folder.parent) if kind == "folder" else (SINGLE, models_dir)
    pipe = load_sdxl(replace(model, device="meta"), root)
    for name in WEIGHTS if kind == "folder" else ("unet", "vae"):
        assert {weight.device.type for weight in getattr(pipe, name).parameters()} == {"meta"}, name


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to reach another machine; none succeeds."""
    attempts: list[str] = []

    def refuse(*arguments: Any, **_options: Any) -> None:
        attempts.append(str(arguments[-1]))
        raise OSError("there is no network here")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(f"socket.{name}", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # or it would not even try
    return attempts


def test_a_single_file_and_its_vae_load_without_a_network(
    from_folder: Any, models_dir: Path, network: list[str]
) -> None:
    write_single_vae(from_folder, models_dir / "vae.safetensors")
    pipe = load_sdxl(replace(SINGLE, vae="vae.safetensors"), models_dir)
    assert network == []
    for name in WEIGHTS:
        expected, found = getattr(from_folder, name).state_dict(), getattr(pipe, name).state_dict()
        assert all(torch.equal(expected[key], found[key]) for key in expected), name


def test_the_network_would_have_been_noticed(network: list[str]) -> None:
    with pytest.raises(httpx.ConnectError):
        httpx.get("https://huggingface.co")
    assert network != []


def test_a_single_file_without_a_configuration_is_refused_instead_of_asking_the_hub(
    models_dir: Path, network: list[str]
) -> None:
    with pytest.raises(ConfigurationError, match=r"\[sdxl\] config is missing"):
        load_sdxl(replace(SINGLE, config=None), models_dir)
    assert network == []


def test_the_shipped_configuration_describes_sdxl_base() -> None:
    """The figures are those of stabilityai/stable-diffusion-xl-base-1.0."""
    unet, vae = (cls.load_config(SHIPPED, subfolder=name) for cls, name in SHIPPED_MODELS)
    with torch.device("meta"):
        parts = {
            "unet": UNet2DConditionModel.from_config(unet),
            "vae": AutoencoderKL.from_config(vae),
            "text_encoder": CLIPTextModel(CLIPTextConfig.from_pretrained(SHIPPED / "text_encoder")),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(SHIPPED / "text_encoder_2")),
        }
    assert {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()} == {
        "unet": 2_567_463_684,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    }
    assert parts["vae"].config.scaling_factor == 0.13025
    assert parts["text_encoder"].config.hidden_act == "quick_gelu"
    assert EulerDiscreteScheduler.from_pretrained(SHIPPED, subfolder="scheduler").config.beta_end == 0.012


@pytest.mark.parametrize(("name", "padding"), [("tokenizer", 49407), ("tokenizer_2", 0)])
def test_the_shipped_vocabulary_is_clip_s(name: str, padding: int) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(SHIPPED, subfolder=name)
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("Two gulls, 42 metres up").input_ids == [49406, 1237, 37501, 267, 275, 273, 19798, 705, 49407]
    padded = tokenizer("a", padding="max_length").input_ids
    assert len(padded) == 77
    assert padded[3:] == [padding] * 74
    for file, sha256 in PUBLISHED.items():
        assert hashlib.sha256((SHIPPED / name / file).read_bytes()).hexdigest() == sha256


def test_a_card_without_room_is_said_before_anything_is_loaded(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The needed bytes are counted, and only the card is invented."""
    asked: list[tuple[int, str]] = []

    def no_room(device: torch.device, needed_bytes: int, what: str) -> None:
        asked.append((needed_bytes, what))
        raise OutOfMemory("no room")

    monkeypatch.setattr("ourvidz_worker.engines.headroom.require_headroom", no_room)
    with pytest.raises(OutOfMemory, match="no room"):
        load_sdxl(replace(SINGLE, dtype="float16", vae="vae", vae_dtype="float32"), models_dir)
    checkpoint = sum(tensor.elements * 2 for tensor in read_tensors(models_dir / "model.safetensors").values())
    vae = sum(tensor.bytes for tensor in tensors_of(models_dir / "vae").values())
    assert asked == [(checkpoint + vae, "SDXL")]


def test_a_single_file_draws_the_same_picture_as_the_folder(
    folder: Path, models_dir: Path, make_request: MakeRequest
) -> None:
    request = make_request("sdxl_image_fast")

    def drawn(model: SdxlModel, root: Path) -> Any:
        return SdxlEngine(model, root, lambda: None).generate(request, lambda done, total: None).frames

    assert np.array_equal(drawn(SINGLE, models_dir), drawn(replace(SINGLE, path=folder.name), folder.parent))


@pytest.mark.parametrize("path", ["model.safetensors", "folder"])
def test_weights_are_held_in_the_dtypes_asked_for(models_dir: Path, folder: Path, path: str) -> None:
    shutil.copytree(folder, models_dir / "folder", dirs_exist_ok=True)
    pipe = load_sdxl(replace(SINGLE, path=path, dtype="float16", vae_dtype="bfloat16"), models_dir)
    assert {pipe.unet.dtype, pipe.text_encoder.dtype, pipe.text_encoder_2.dtype} == {torch.float16}
    assert pipe.vae.dtype == torch.bfloat16


def test_another_vae_takes_the_place_of_the_checkpoint_s(models_dir: Path) -> None:
    pipe = load_sdxl(replace(SINGLE, vae="vae"), models_dir)
    assert pipe.vae.config._name_or_path == str(models_dir / "vae")


def test_a_damaged_file_is_a_clear_error(models_dir: Path) -> None:
    (models_dir / "damaged.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ConfigurationError, match=r"SDXL weights at .*damaged\.safetensors cannot be loaded"):
        load_sdxl(replace(SINGLE, path="damaged.safetensors"), models_dir)


@pytest.mark.parametrize("path", ["incomplete.safetensors", "incomplete"])
def test_a_tensor_that_no_file_holds_is_a_sentence(folder: Path, models_dir: Path, path: str) -> None:
    shutil.copytree(folder, models_dir / "incomplete", dirs_exist_ok=True)
    unet = Path("incomplete/unet/diffusion_pytorch_model.safetensors")
    for source, target, name in (
        ("model.safetensors", "incomplete.safetensors", "model.diffusion_model.out.2.bias"),
        (unet, unet, "conv_out.bias"),
    ):
        weights = load_file(models_dir / source)
        weights.pop(name, None)
        save_file(weights, models_dir / target, metadata={"format": "pt"})
    problem = rf"{path} cannot be loaded \(some of the model's tensors are in none of its files\); see"
    with pytest.raises(ConfigurationError, match=problem):
        load_sdxl(replace(SINGLE, path=path), models_dir)


def test_a_text_encoder_is_never_filled_with_random_weights(folder: Path, models_dir: Path) -> None:
    shutil.copytree(folder, models_dir / "random")
    path = models_dir / "random" / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    del weights[next(name for name in weights if name.endswith("final_layer_norm.weight"))]
    save_file(weights, path, metadata={"format": "pt"})
    problem = r"random/text_encoder lacks 1 of the \d+ tensors of its model; copy it again"
    with pytest.raises(ConfigurationError, match=problem):
        load_sdxl(replace(SINGLE, path="random"), models_dir)


def test_weights_of_another_size_are_one_line(models_dir: Path) -> None:
    weights = load_file(models_dir / "model.safetensors")
    weights["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(9, 4, 3, 3)
    save_file(weights, models_dir / "other.safetensors")
    with pytest.raises(
        ConfigurationError, match=r"other\.safetensors cannot be loaded \(ValueError: .*\); see"
    ) as caught:
        load_sdxl(replace(SINGLE, path="other.safetensors"), models_dir)
    assert len(str(caught.value).splitlines()) == 1


def test_a_pickle_beside_the_configuration_is_never_opened(
    folder: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, models_dir / "pickled")
    weights = models_dir / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    opened: list[object] = []
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: opened.append(arguments))
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_sdxl(replace(SINGLE, path="pickled"), models_dir)
    assert opened == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: device-side assert triggered"), PoisonedContext),
    ],
)
def test_what_the_card_refuses_while_the_weights_are_loaded_is_no_damage(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception]
) -> None:
    """A configuration that is wrong ends a worker for good; these are worth another start."""

    def refuse(*arguments: Any, **named: Any) -> None:
        raise raised

    monkeypatch.setattr(AutoencoderKL, "to", refuse)
    with pytest.raises(expected, match="SDXL"):
        load_sdxl(SINGLE, models_dir)


def test_a_device_that_is_not_there_is_a_clear_error(models_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="device = 'cuda:99'"):
        load_sdxl(replace(SINGLE, device="cuda:99"), models_dir)

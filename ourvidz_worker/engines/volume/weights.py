"""Where weights lie on disk, and what is missing there, found without importing torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part, SdxlModel
from ourvidz_worker.errors import ConfigurationError

SDXL_COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
WAN_COMPONENTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
WITHOUT_WEIGHTS = ("tokenizer", "tokenizer_2", "scheduler")


def missing_weights(config: ModelsConfig, models_dir: Path, part: Part) -> list[str]:
    """One sentence per finding, with the path looked at and the cure; empty when the part can be loaded.

    `wan` includes Qwen, which rewrites the prompts of the family's enhanced job types (contract section 3).
    """
    match part:
        case "sdxl":
            return list(_sdxl(config.sdxl, models_dir))
        case "wan":
            wan = _folder(models_dir / config.wan.path, "[wan] path", WAN_COMPONENTS)
            return [*wan, *missing_weights(config, models_dir, "qwen")]
        case "qwen":
            return list(_qwen(models_dir / config.qwen.path))


def require_weights(config: ModelsConfig, models_dir: Path, part: Part) -> None:
    """Raises `ConfigurationError` with everything that is missing; there is no fallback."""
    if problems := missing_weights(config, models_dir, part):
        raise ConfigurationError(problems)


def hub_snapshot(path: Path) -> Path:
    """The model folder behind a Hugging Face cache entry; a plain folder is returned as it is.

    An entry has `refs/main`, which holds the name of a folder under `snapshots`.
    """
    snapshots = path / "snapshots"
    if not snapshots.is_dir():
        return path
    reference = path / "refs" / "main"
    if reference.is_file() and (named := snapshots / reference.read_text().strip()).is_dir():
        return named
    downloaded = [entry for entry in snapshots.iterdir() if entry.is_dir()]
    return max(downloaded, key=lambda entry: entry.stat().st_mtime, default=path)


def _sdxl(model: SdxlModel, models_dir: Path) -> Iterator[str]:
    path = models_dir / model.path
    if path.suffix == ".safetensors":
        yield from _file(path, "[sdxl] path")
    else:
        yield from _folder(path, "[sdxl] path", SDXL_COMPONENTS)
    if model.config is not None:
        yield from _pipeline_index(models_dir / model.config, "[sdxl] config")
    if model.vae is not None:
        vae = models_dir / model.vae
        yield from _file(vae, "[sdxl] vae") if vae.suffix == ".safetensors" else _weights(vae, "[sdxl] vae")


def _qwen(path: Path) -> Iterator[str]:
    folder = hub_snapshot(path)
    if not folder.is_dir():
        yield _absent(folder, "[qwen] path")
        return
    yield from (
        f"{folder / name} is missing ([qwen] path in models.toml); download the model again"
        for name in ("config.json", "tokenizer_config.json")
        if not (folder / name).is_file()
    )
    yield from _weights(folder, "[qwen] path")


def _folder(path: Path, key: str, components: tuple[str, ...]) -> Iterator[str]:
    """A Diffusers folder: an index, and a folder per component."""
    problems = list(_pipeline_index(path, key))
    yield from problems
    if problems:
        return
    for name in components:
        component = path / name
        if name not in WITHOUT_WEIGHTS:
            yield from _weights(component, key)
        elif not component.is_dir():
            yield _absent(component, key)


def _pipeline_index(path: Path, key: str) -> Iterator[str]:
    if not path.is_dir():
        yield _absent(path, key)
    elif (path / "Wan2.1_VAE.pth").is_file() and not (path / "model_index.json").is_file():
        yield (
            f"{path} holds WAN's original layout ({key} in models.toml); put the Diffusers layout there "
            "(Wan-AI/Wan2.1-T2V-1.3B-Diffusers) or point the key at it"
        )
    elif not (path / "model_index.json").is_file():
        yield f"{path} has no model_index.json ({key} in models.toml); it must be a Diffusers folder"


def _file(path: Path, key: str) -> Iterator[str]:
    if not path.is_file():
        yield _absent(path, key)
    elif path.stat().st_size == 0:
        yield f"{path} is empty ({key} in models.toml); copy it again"


def _weights(folder: Path, key: str) -> Iterator[str]:
    """A folder with `.safetensors` files, all of those that its shard index names."""
    if not folder.is_dir():
        yield _absent(folder, key)
        return
    present = {entry.name for entry in folder.glob("*.safetensors") if entry.stat().st_size > 0}
    named = set[str]()
    for index in folder.glob("*.safetensors.index.json"):
        try:
            named |= set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError):
            yield f"{index} is damaged ({key} in models.toml); download it again"
    if named - present:
        yield (f"{folder} lacks {', '.join(sorted(named - present))} ({key} in models.toml); download the rest")
    elif not present:
        yield f"{folder} holds no .safetensors weights ({key} in models.toml); download the model again"


def _absent(path: Path, key: str) -> str:
    return (
        f"{path} does not exist ({key} in models.toml); put the weights there, or set OURVIDZ_MODELS_DIR or the "
        "key to where they are"
    )

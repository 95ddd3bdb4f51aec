"""What is missing or wrong on the volume, found without importing torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ourvidz_worker.engines.volume.kinds import Kind, kind_of, kind_of_tensors
from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part
from ourvidz_worker.engines.volume.pieces import Piece, pieces_of
from ourvidz_worker.engines.volume.safetensors_header import DamagedFile, NoSafetensorsFile, read_tensors
from ourvidz_worker.engines.volume.tokenizer_files import holds_vocabulary
from ourvidz_worker.engines.wan.layouts import TRANSFORMER, layout_of, original_findings, transformer_folder
from ourvidz_worker.errors import ConfigurationError

SDXL_COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
WAN_COMPONENTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
TOKENIZERS = ("tokenizer", "tokenizer_2")
SCHEDULER = "scheduler"

_FOLDERS = ("sdxl.image_encoder", "sdxl.controlnet", "wan.path", "wan.vace", "qwen.path")
_LOADED_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")  # and their indices; no others are read
_DRAWN_WITH = {"unet": Kind.UNET, "transformer": Kind.WAN}


def missing_weights(
    config: ModelsConfig, models_dir: Path, part: Part, *, own_language_model: bool = True
) -> list[str]:
    """One sentence per finding, with the path looked at and the cure; empty when the part can be loaded.

    `wan` includes Qwen, which rewrites the prompts of the family's enhanced job types (contract section 3), unless
    it runs elsewhere.
    """
    needed = [piece for piece in pieces_of(config, models_dir, part) if not piece.optional]
    problems = [problem for piece in needed for problem in findings(piece)]
    if part == "sdxl":
        problems += _sdxl_config(config, models_dir)
    if part == "wan" and own_language_model:
        problems += missing_weights(config, models_dir, "qwen")
    return problems


def missing_adapters(config: ModelsConfig, models_dir: Path, part: Part) -> list[str]:
    """As `missing_weights`, for what a part can do without: it then does less."""
    adapters = [piece for piece in pieces_of(config, models_dir, part) if piece.optional]
    return [problem for piece in adapters for problem in findings(piece)]


def require_weights(config: ModelsConfig, models_dir: Path, part: Part, *, own_language_model: bool = True) -> None:
    """Raises `ConfigurationError` with everything that is missing; there is no fallback."""
    if problems := missing_weights(config, models_dir, part, own_language_model=own_language_model):
        raise ConfigurationError(problems)


def findings(piece: Piece) -> list[str]:
    """What is missing or wrong of one piece; empty when it can be loaded."""
    try:
        return list(_findings(piece))
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        return [_sentence(piece, error.filename or piece.path, problem, "let this user read it")]


def _findings(piece: Piece) -> Iterator[str]:
    if piece.name in _FOLDERS and piece.path.is_file():
        yield _sentence(piece, piece.path, "is a file, and a folder is needed", "point the key at the model's folder")
    elif piece.part == "qwen":
        yield from _language_model(piece)
    elif piece.path.suffix == ".safetensors" or piece.path.is_file():
        yield from _file(piece)
    elif piece.name == "sdxl.path":
        yield from _pipeline(piece, "StableDiffusionXLPipeline", SDXL_COMPONENTS)
    elif piece.name == "wan.path":
        yield from _wan(piece)
    elif piece.name == "wan.vace":
        yield from _vace(piece)
    else:
        yield from _model(piece, piece.path)


def hub_snapshot(path: Path) -> Path:
    """The model folder behind a Hugging Face cache entry; a plain folder is returned as it is.

    An entry has `refs/main`, which holds the name of a folder under `snapshots`.
    """
    snapshots = path / "snapshots"
    if not snapshots.is_dir():
        return path
    reference = path / "refs" / "main"
    if reference.is_file() and (named := snapshots / _text(reference).strip()).is_dir():
        return named
    downloaded = [entry for entry in snapshots.iterdir() if entry.is_dir()]
    return max(downloaded, key=lambda entry: entry.stat().st_mtime, default=path)


def _file(piece: Piece) -> Iterator[str]:
    path = piece.path
    if path.is_dir():
        yield _sentence(piece, path, "is a folder", "point the key at the file in it, or at a folder of another name")
        return
    if not path.is_file():
        yield _absent(piece, path)
        return
    try:
        tensors = read_tensors(path)
    except DamagedFile as damage:
        yield _damaged(piece, path, damage)
        return
    problems = list(_other_kind(piece, path, kind_of_tensors(tensors)))
    yield from problems
    if problems:
        return
    for start, (what, cure) in piece.contents.items():
        if not any(name.startswith(start) for name in tensors):
            yield _sentence(piece, path, f"holds no {what}", cure)
    if path.suffix != ".safetensors":
        yield _sentence(piece, path, "does not end in .safetensors, which is its format", "rename it")


def _model(piece: Piece, folder: Path) -> Iterator[str]:
    """One model in a folder of its own: its configuration, and weights of the right kind."""
    problems = list(_weights(piece, folder))
    yield from problems
    if problems:
        return
    if not (folder / "config.json").is_file():
        yield _sentence(piece, folder / "config.json", "is missing", _again(piece))
    yield from _other_kind(piece, folder, kind_of(folder))


def _wan(piece: Piece) -> Iterator[str]:
    """A whole model in one of its two layouts."""
    if layout_of(piece.path) != "original":
        yield from _pipeline(piece, "WanPipeline", WAN_COMPONENTS)
        return
    problems = list(original_findings(piece.path))
    for path, problem in problems:
        yield _sentence(piece, path, problem, "copy WAN's original files there again")
    if not problems:
        yield from _other_kind(piece, piece.path / TRANSFORMER, kind_of(piece.path / TRANSFORMER))


def _vace(piece: Piece) -> Iterator[str]:
    """Its transformer, in either layout; the rest is shared with the text-to-video model."""
    if folder := transformer_folder(piece.path):
        yield from _model(piece, folder)
    elif (piece.path / TRANSFORMER).is_file():
        yield from _file(replace(piece, path=piece.path / TRANSFORMER))
    elif piece.path.is_dir():
        yield _sentence(piece, piece.path, "holds no transformer", _again(piece))
    else:
        yield _absent(piece, piece.path)


def _language_model(piece: Piece) -> Iterator[str]:
    folder = hub_snapshot(piece.path)
    if not folder.is_dir():
        yield _absent(piece, folder)
        return
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            yield _sentence(piece, folder / name, "is missing", _again(piece))
    yield from _vocabulary(piece, folder)
    yield from _weights(piece, folder)


def _pipeline(piece: Piece, class_name: str, components: tuple[str, ...]) -> Iterator[str]:
    """A Diffusers folder: an index, and a folder per component."""
    problems = list(_pipeline_index(piece, class_name))
    yield from problems
    if problems:
        return
    for name in components:
        yield from _component(piece, piece.path / name)


def _component(piece: Piece, folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield _absent(piece, folder)
    elif folder.name in TOKENIZERS:
        yield from _vocabulary(piece, folder)
    else:
        config = folder / ("scheduler_config.json" if folder.name == SCHEDULER else "config.json")
        if not config.is_file():
            yield _sentence(piece, config, "is missing", _again(piece))
        if folder.name != SCHEDULER:
            yield from _component_weights(piece, folder)


def _component_weights(piece: Piece, folder: Path) -> Iterator[str]:
    problems = list(_weights(piece, folder))
    yield from problems
    needed = _DRAWN_WITH.get(folder.name)
    if needed and not problems and (found := kind_of(folder)) not in (needed, Kind.UNKNOWN):
        yield _sentence(piece, folder, f"looks like {found}", f"put {needed} there")


def _vocabulary(piece: Piece, folder: Path) -> Iterator[str]:
    if not holds_vocabulary(folder):
        yield _sentence(piece, folder, "holds no tokenizer.json or other vocabulary", _again(piece))


def _pipeline_index(piece: Piece, class_name: str) -> Iterator[str]:
    if not piece.path.is_dir():
        yield _absent(piece, piece.path)
        return
    index = piece.path / "model_index.json"
    if not index.is_file():
        cure = "it must be a Diffusers folder"
        yield _sentence(piece, piece.path, "has no model_index.json", cure)
        return
    named = _document(index).get("_class_name")
    if named is None:
        yield _sentence(piece, index, "is damaged", _again(piece))
    elif named != class_name:
        cure = f"point the key at a folder for {class_name}"
        yield _sentence(piece, piece.path, f"holds a {named}", cure)


def _sdxl_config(config: ModelsConfig, models_dir: Path) -> Iterator[str]:
    """What a single file is read with; a folder brings its own."""
    sdxl = config.sdxl
    if not sdxl.path.endswith(".safetensors") or sdxl.config is None:
        return
    index = models_dir / sdxl.config / "model_index.json"
    if not index.is_file():
        yield (
            f"{index.parent} has no model_index.json ([sdxl] config in models.toml); "
            "leave the key out, or point it at a Diffusers folder"
        )


def _weights(piece: Piece, folder: Path) -> Iterator[str]:
    """A folder with whole `.safetensors` files, all of those that its shard index names, and what it says of them."""
    if not folder.is_dir():
        yield _absent(piece, folder)
        return
    problems = list(_shards(piece, folder))
    yield from problems
    if problems:
        return
    tensors = set[str]()
    for file in sorted(folder.glob("*.safetensors")):
        try:
            tensors |= read_tensors(file).keys()
        except DamagedFile as damage:
            problems.append(_damaged(piece, file, damage))
    yield from problems
    indexed = {name for index in _indices(folder) for name in _document(index)["weight_map"]}
    if not problems and (lacking := sorted(indexed - tensors)):
        problem = f"lacks {len(lacking)} of the {len(indexed)} tensors that its index names, {lacking[0]} to begin with"
        yield _sentence(piece, folder, problem, _again(piece))


def _shards(piece: Piece, folder: Path) -> Iterator[str]:
    """Are the files there that the libraries look for?"""
    indices, present = _indices(folder), sorted(folder.glob("*.safetensors"))
    named = set[str]()
    for index in indices:
        shards = _document(index).get("weight_map")
        if isinstance(shards, dict):
            named |= set(map(str, shards.values()))
        else:
            yield _sentence(piece, index, "is damaged", _again(piece))
    if lacking := named - {file.name for file in present}:
        yield _sentence(piece, folder, f"lacks {', '.join(sorted(lacking))}", _again(piece))
    elif not present:
        yield _sentence(piece, folder, "holds no .safetensors weights", _again(piece))
    elif not indices and not any((folder / name) in present for name in _LOADED_NAMES):
        names = " or ".join(_LOADED_NAMES)
        problem = f"holds {present[0].name}, and only {names}, or shards with an index of this name, are loaded"
        yield _sentence(piece, folder, problem, f"rename it, or {_again(piece)}")
    yield from (_absent(piece, file) for file in present if not file.exists())


def _indices(folder: Path) -> list[Path]:
    paths = (folder / f"{name}.index.json" for name in _LOADED_NAMES)
    return [path for path in paths if path.is_file()]


def _other_kind(piece: Piece, path: Path, found: Kind) -> Iterator[str]:
    if piece.kinds and found not in piece.kinds:
        yield _sentence(piece, path, f"looks like {found}", f"point the key at {piece.kinds[0]}")


def _document(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one for whatever is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _absent(piece: Piece, path: Path) -> str:
    elsewhere = "set OURVIDZ_MODELS_DIR or the key to where they are"
    cure = f"put the weights there, or {elsewhere}" if piece.source is None else f"{piece.fetching}, or {elsewhere}"
    return _sentence(piece, path, "is a link that leads nowhere" if path.is_symlink() else "does not exist", cure)


def _damaged(piece: Piece, path: Path, damage: DamagedFile) -> str:
    other_format = isinstance(damage, NoSafetensorsFile) and piece.source is None
    return _sentence(piece, path, str(damage), "put a .safetensors file there" if other_format else _again(piece))


def _again(piece: Piece) -> str:
    return "copy it again" if piece.source is None else piece.fetching


def _sentence(piece: Piece, path: Path | str, problem: str, cure: str) -> str:
    return f"{path} {problem} ({piece.label} in models.toml); {cure}"

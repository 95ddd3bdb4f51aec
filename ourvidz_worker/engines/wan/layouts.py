"""How WAN's weights lie in a folder, told without a model library.

The original layout is the one that WAN was published in: the transformer in one file, the VAE and the text encoder
as PyTorch archives, and the tokenizer's folder. A VACE model needs no more than its transformer there, because all
else is shared; and of the transformer no more than what is VACE's own, as "VACE modules" are published.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ourvidz_worker.engines.volume.safetensors_header import DamagedFile, read_tensors
from ourvidz_worker.engines.volume.tokenizer_files import holds_vocabulary

Layout = Literal["diffusers", "original"]

TRANSFORMER = "diffusion_pytorch_model.safetensors"
VAE = "Wan2.1_VAE.pth"
TEXT_ENCODER = "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER = "google/umt5-xxl"

ORIGINAL_FILES = (TRANSFORMER, VAE, TEXT_ENCODER, TOKENIZER)
ORIGINAL_VACE_FILES = (TRANSFORMER,)


def layout_of(folder: Path) -> Layout | None:
    """The layout of a whole model or of a VACE transformer; None for a folder that holds neither.

    A transformer alone has the same file name in both layouts. In Diffusers' its configuration, which stands beside
    it, names a class of Diffusers.
    """
    if (folder / "model_index.json").is_file() or transformer_folder(folder) is not None:
        return "diffusers"
    return "original" if any((folder / name).is_file() for name in (TRANSFORMER, VAE, TEXT_ENCODER)) else None


def transformer_folder(folder: Path) -> Path | None:
    """Where a Diffusers folder keeps the transformer: in a folder of its own, or all by itself."""
    for candidate in (folder / "transformer", folder):
        config = candidate / "config.json"
        if config.is_file() and "Transformer3DModel" in config.read_text(encoding="utf-8", errors="replace"):
            return candidate
    return None


def transformer_files(folder: Path) -> tuple[Path, ...]:
    """The transformer's weights in either layout; where there are none, the one file that should be there."""
    own = transformer_folder(folder)
    shards = sorted(own.glob("*.safetensors")) if own is not None else []
    return tuple(shards) or ((own or folder) / TRANSFORMER,)


def is_vace_alone(paths: Sequence[Path]) -> bool:
    """Whether VACE's files leave out what the text-to-video model has as well."""
    try:
        names = {name for path in paths for name in read_tensors(path)}
    except (DamagedFile, OSError):  # which is for the loader to say
        return False
    return any(name.startswith("vace_blocks.") for name in names) and not any(
        name.startswith("blocks.") for name in names
    )


def original_findings(folder: Path, files: Sequence[str] = ORIGINAL_FILES) -> Iterator[tuple[Path, str]]:
    """Each of the files that is missing or damaged, with words that go on after its name."""
    for name in files:
        try:
            check_whole(folder / name)
        except DamagedFile as damage:
            yield folder / name, str(damage)


def check_whole(path: Path) -> None:
    """Raises `DamagedFile` for weights that are missing or cut off, told from what the file says about itself.

    A folder must hold a tokenizer.
    """
    if not path.exists():
        raise DamagedFile("is missing")
    if path.is_dir():
        if not holds_vocabulary(path):
            raise DamagedFile("holds no vocabulary")
    elif path.suffix == ".safetensors":
        read_tensors(path)
    elif not zipfile.is_zipfile(path):  # its directory stands at the end
        raise DamagedFile("is truncated, or no PyTorch archive")

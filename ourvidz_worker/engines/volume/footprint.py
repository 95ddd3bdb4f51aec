"""How much memory weights take once they are loaded, told from their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ourvidz_worker.engines.volume.safetensors_header import Tensor, read_tensors

_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}
_OTHER_WEIGHTS = (".pth", ".bin")
_VARIANT = re.compile(r"model\.\w+(-\d+-of-\d+)?\.(safetensors|bin)")


def loaded_bytes(path: Path, dtype: str) -> int:
    """Of a file, or of a folder with everything below it, held in this dtype; raises `DamagedFile`.

    A variant like `model.fp16.safetensors` is not loaded and does not count, nor does in a Diffusers folder what lies
    beside the components, like a single file of the same weights, or their pickles.
    """
    return sum(_file_bytes(file, _WIDTHS[dtype]) for file in _loaded_files(path))


def _loaded_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    components = path.glob("*/*.safetensors") if (path / "model_index.json").is_file() else path.rglob("*.*")
    yield from (file for file in sorted(components) if not _VARIANT.search(file.name))


def _file_bytes(file: Path, width: int) -> int:
    if file.suffix == ".safetensors":
        return sum(_tensor_bytes(tensor, width) for tensor in read_tensors(file).values())
    return file.stat().st_size if file.suffix in _OTHER_WEIGHTS else 0


def _tensor_bytes(tensor: Tensor, width: int) -> int:
    return tensor.elements * width if tensor.is_float else tensor.bytes

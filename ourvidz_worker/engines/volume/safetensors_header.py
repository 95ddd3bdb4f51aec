"""What a `.safetensors` file says about itself in its first bytes, read without a model library.

The format: eight bytes with the length of the header (little-endian), the header as JSON, then the tensors.
The header names each tensor's dtype, shape and place, so it also says how long the file must be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LENGTH = 8
_LONGEST_HEADER = 100_000_000  # the format's own limit
_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16}
_BITS |= {"I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64}
_OTHER_FORMATS = {  # by their first bytes
    b"PK\x03\x04": "a PyTorch archive, which could run code when it is read",
    b"\x80": "a PyTorch archive, which could run code when it is read",
    b"version ": "a Git LFS pointer, whose content was not downloaded",
    b"<": "a web page",
    b"GGUF": "a GGUF file",
}


class DamagedFile(ValueError):
    """The message goes on after the file's name: "is empty", "is truncated: …"."""


@dataclass(frozen=True, slots=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        return "F" in self.dtype

    @property
    def bytes(self) -> int:
        return self.elements * _BITS.get(self.dtype, 32) // 8


class NoSafetensorsFile(DamagedFile):
    """Another format, whose start was `found`."""

    def __init__(self, found: bytes = b"") -> None:
        known = next((name for start, name in _OTHER_FORMATS.items() if found.startswith(start)), None)
        super().__init__("is no .safetensors file" + (f" but {known}" if known else ""))


Tensors = Mapping[str, Tensor]


def read_tensors(path: Path) -> Tensors:
    """Every tensor of the file by name; raises `DamagedFile` unless the file is as long as its header says."""
    size = path.stat().st_size
    if size == 0:
        raise DamagedFile("is empty")
    with path.open("rb") as file:
        start = file.read(_LENGTH)
        length = int.from_bytes(start, "little")
        header = file.read(min(length, _LONGEST_HEADER))
    if length > _LONGEST_HEADER or not header.startswith(b"{"):
        raise NoSafetensorsFile(start)
    if len(header) < length:
        raise DamagedFile(f"is truncated: its header alone has {_LENGTH + length} bytes, and the file has {size}")
    tensors, end = _parsed(header)
    whole = _LENGTH + length + end
    if size != whole:
        state = "is truncated" if size < whole else "has more than it should"
        raise DamagedFile(f"{state}: its header promises {whole} bytes, and the file has {size}")
    return tensors


def _parsed(header: bytes) -> tuple[dict[str, Tensor], int]:
    """The tensors, and where the last of them ends, counted from the end of the header."""
    try:
        entries: dict[str, Any] = json.loads(header)
        entries.pop("__metadata__", None)
        tensors = {
            name: Tensor(str(entry["dtype"]), tuple(int(length) for length in entry["shape"]))
            for name, entry in entries.items()
        }
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise NoSafetensorsFile from error
    return tensors, end

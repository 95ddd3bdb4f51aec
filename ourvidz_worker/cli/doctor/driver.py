"""The driver of the cards and PyTorch's build, each told without loading the other."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Version = tuple[int, int]

_CUDA_OF_BUILD = re.compile(r"^cuda\b[^=\n]*=\s*['\"](\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Driver:
    """`cuda` is the newest version it runs; `capabilities` are the compute capabilities of the cards, by index."""

    version: str
    cuda: Version
    capabilities: Mapping[int, Version]


def installed_driver() -> Driver | None:
    """None without a card or a driver."""
    import pynvml  # noqa: PLC0415 - loads the driver library

    try:
        pynvml.nvmlInit()
        try:
            cuda = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
            version = pynvml.nvmlSystemGetDriverVersion()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
            capabilities = {
                index: tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)) for index, handle in enumerate(handles)
            }
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return Driver(
        version if isinstance(version, str) else version.decode(), (cuda // 1000, cuda % 1000 // 10), capabilities
    )


def torch_cuda() -> Version | None:
    """The CUDA version that PyTorch was built for; None for a build for processors alone, or without PyTorch.

    Read from the file in which PyTorch keeps it, because the import takes seconds.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        return cuda_of((Path(spec.origin).parent / "version.py").read_text(encoding="utf-8"))
    except OSError:
        return None


def cuda_of(version_file: str) -> Version | None:
    found = _CUDA_OF_BUILD.search(version_file)
    return None if found is None else (int(found[1]), int(found[2]))

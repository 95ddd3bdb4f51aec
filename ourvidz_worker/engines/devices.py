"""The device that models run on: its name, its memory, and what its errors mean."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from ourvidz_worker.errors import ConfigurationError, OutOfMemory, PoisonedContext
from ourvidz_worker.ports import GpuMemory

GB = 10**9

_earlier_peaks: dict[torch.device, int] = {}  # bytes, of the time between `memory_of` and the last watch


def device_named(name: str) -> torch.device:
    """The device for a name of `models.toml`; raises `ConfigurationError` when the machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(
            f"device = {name!r} in models.toml, but this machine has {torch.cuda.device_count()} CUDA devices; "
            'check the driver with nvidia-smi or set device = "auto"'
        )
    return device


def dtype_named(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def memory_of(device: torch.device) -> GpuMemory | None:
    """The peak since the last look and the card's size, or None for the CPU."""
    if device.type != "cuda":
        return None
    peak = max(_earlier_peaks.pop(device, 0), torch.cuda.max_memory_allocated(device))
    torch.cuda.reset_peak_memory_stats(device)
    return GpuMemory(peak / GB, torch.cuda.get_device_properties(device).total_memory / GB)


def watch_peak(device: torch.device) -> Callable[[], int]:
    """Gives, when called later, the most bytes of a CUDA device taken since now, beyond what is taken now."""
    _earlier_peaks[device] = max(_earlier_peaks.get(device, 0), torch.cuda.max_memory_allocated(device))
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    return lambda: max(0, torch.cuda.max_memory_allocated(device) - before)


def free_cache() -> None:
    """Give memory that nothing refers to back to the card."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def classified_errors(engine: str) -> Iterator[None]:
    """Turn what CUDA raises into `OutOfMemory` or `PoisonedContext`; everything else passes as it is."""
    try:
        yield
    except RuntimeError as error:
        known = classified(error, engine)
        if known is error:
            raise
        raise known from error


def classified(error: BaseException, engine: str) -> BaseException:
    """What an error of CUDA means to the worker; any other one as it is."""
    if isinstance(error, torch.OutOfMemoryError):
        return OutOfMemory(
            f"the card's memory does not suffice for {engine}; ask for a smaller size, or end what else runs there"
        )
    if isinstance(error, RuntimeError) and is_poisoned(error):
        return PoisonedContext(
            f"CUDA refuses further work in this process after an error in {engine}: {first_line(error)}"
        )
    return error


def raise_if_poisoned(error: Exception) -> None:
    """For whoever goes on after errors: after this one nobody can."""
    if isinstance(error, RuntimeError) and is_poisoned(error):
        raise error


def is_poisoned(error: RuntimeError) -> bool:
    """After an asynchronous CUDA error every later call in the process fails as well."""
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")

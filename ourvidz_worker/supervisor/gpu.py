"""The memory of the first card, through NVML."""

from __future__ import annotations

from ourvidz_worker.ports import GpuMemory

GB = 1e9


def gpu_memory() -> GpuMemory | None:
    """Memory in use by all processes, or None where there is no card or no driver."""
    import pynvml  # noqa: PLC0415 - loads the driver library, which only the status line needs

    try:
        pynvml.nvmlInit()
        try:
            memory = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0))
            return GpuMemory(used_gb=memory.used / GB, total_gb=memory.total / GB)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None

"""The card between the workers of a pod: each one's part in it, and what they may hold together."""

from __future__ import annotations

from collections.abc import Collection

from ourvidz_worker.control import usable_bytes
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.runtime.card_line import CardLine
from ourvidz_worker.runtime.control_channel import ControlChannel
from ourvidz_worker.supervisor.broker import Broker
from ourvidz_worker.supervisor.gpu import gpu_memory

GB = 10**9


def build_residency(models: ModelsConfig, channel: ControlChannel | None) -> Residency:
    """Of this process; without a supervisor it decides alone."""
    if channel is None:
        return Residency(models.card.bytes)
    line = CardLine(channel)
    residency = Residency(models.card.bytes, neighbours=line)
    line.serve(residency)
    return residency


def build_broker(models: ModelsConfig, workers: Collection[str]) -> Broker:
    """Between these workers; where there is no card, everything is granted."""
    memory = gpu_memory()
    measured = None if memory is None else usable_bytes(int(memory.total_gb * GB), len(workers))
    return Broker(models.card.bytes or measured)

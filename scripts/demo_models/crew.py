"""Processes that train one model together, each on examples of its own: `torchrun --nproc-per-node 2`.

All of them hold the same weights and take the same steps, with the mean of their gradients. A process that was started
alone is a crew of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, distributed, nn


def join() -> None:
    """Meet the others that the same `torchrun` started."""
    if "WORLD_SIZE" in os.environ and not distributed.is_initialized():
        distributed.init_process_group("gloo")


def place() -> int:
    """Of this process, from 0; known before it has joined the others."""
    return int(os.environ.get("RANK", "0"))


def leads() -> bool:
    """Whether this is the process that saves, publishes and reports."""
    return place() == 0


def agreed(*, by_leader: bool) -> bool:
    """What the first process says, for all."""
    if not distributed.is_initialized():
        return by_leader
    said = torch.tensor([by_leader])
    distributed.broadcast(said, src=0)
    return bool(said)


def leader_makes(file: Path, make: Callable[[], object]) -> None:
    """Where there is no such file, the first process makes it, and the others wait for it."""
    if leads() and not file.is_file():
        make()
    agreed(by_leader=True)


def share_gradients(model: nn.Module) -> None:
    if not distributed.is_initialized():
        return
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    for together, own in zip(_mean(gradients), gradients, strict=True):
        own.copy_(together)


def _mean(gradients: list[Tensor]) -> list[Tensor]:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]

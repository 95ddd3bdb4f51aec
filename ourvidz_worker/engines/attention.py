"""Which attention a model computes with: chosen per model, so that one model's choice never reaches another's.

Diffusers 0.42 knows two kinds of processors. WAN's name the kernel that they want (`_attention_backend`), while those
of the SDXL UNet always call PyTorch's own. `set_attention_backend` reaches the first kind alone and also changes the
default of the whole process, so it is not used here: processors of the first kind get their kernel one by one, and
those of the second give way to `DispatchedAttention`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend, dispatch_attention_fn
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn

from ourvidz_worker.engines.devices import first_line, raise_if_poisoned
from ourvidz_worker.engines.volume.tiers import Attention

SDPA = AttentionBackendName.NATIVE
KERNELS: Mapping[str, tuple[AttentionBackendName, ...]] = {
    # Built from source, or as `kernels` keeps it in the hub's cache.
    "flash3": (AttentionBackendName._FLASH_3, AttentionBackendName._FLASH_3_HUB),  # noqa: SLF001 - names of diffusers
    "sage": (AttentionBackendName.SAGE,),
    "xformers": (AttentionBackendName.XFORMERS,),
}
HOPPER = 9  # the major compute capability that FlashAttention 3 was written for
FARTHEST = 0.1  # how far, relatively, a kernel may be from SDPA; quantised ones come to 0.05


@dataclass(frozen=True, slots=True)
class ChosenAttention:
    """The attention that a model has now; `fallback` says why it is not the one that was asked for."""

    name: str
    fallback: str | None = None

    @property
    def details(self) -> dict[str, Any]:
        """The entries for the result metadata."""
        return {"attention": self.name} | ({"attention_fallback": self.fallback} if self.fallback else {})


class DispatchedAttention:
    """Attention of a UNet's transformer blocks through one kernel, for itself alone; anything else goes to SDPA.

    Diffusers makes one without arguments for the layers that an IP-Adapter leaves alone.
    """

    def __init__(self, backend: AttentionBackendName = SDPA) -> None:
        self.backend = backend
        self._general = AttnProcessor2_0()

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        if attention_mask is not None or not _is_plain(attn):
            elsewhere: torch.Tensor = self._general(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs
            )
            return elsewhere
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            projected.unflatten(2, (attn.heads, -1))
            for projected in (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        )
        attended = dispatch_attention_fn(query, key, value, backend=self.backend)
        output: torch.Tensor = attn.to_out[0](attended.flatten(2, 3).to(query.dtype))
        return output


def set_attention(model: Any, wanted: Attention, device: torch.device) -> ChosenAttention:
    """Give a UNet or a WAN transformer the attention that is wanted, where its kernel loads and is right on `device`.

    `auto` is FlashAttention 3 on Hopper, where it is installed, and SDPA everywhere else. A kernel that cannot be had
    is replaced by SDPA, and the log and the choice say why.
    """
    chosen, backend, problem = _choice(model, wanted, device)
    for module in _attentions(model):
        if hasattr(module.processor, "_attention_backend"):
            module.processor._attention_backend = backend  # noqa: SLF001 - diffusers offers this for all models alone
        elif type(module.processor) in (AttnProcessor2_0, DispatchedAttention):
            module.set_processor(AttnProcessor2_0() if backend is SDPA else DispatchedAttention(backend))
    if problem is not None or chosen.name != "sdpa":
        level = logging.WARNING if chosen.fallback else logging.INFO
        named = {"model": type(model).__name__, "wanted": wanted, "used": chosen.name, "reason": problem}
        structlog.get_logger().log(level, "attention", **named)
    return chosen


def _choice(
    model: Any, wanted: Attention, device: torch.device
) -> tuple[ChosenAttention, AttentionBackendName, str | None]:
    """What the model gets, and what is the matter with the kernels that were tried in vain."""
    if wanted == "sdpa" or (wanted == "auto" and not _is_hopper(device)):
        return ChosenAttention("sdpa"), SDPA, None
    name = "flash3" if wanted == "auto" else wanted
    problems = []
    for backend in KERNELS[name]:
        problem = _problem(backend, model, device)
        if problem is None:
            return ChosenAttention(name), backend, None
        problems.append(problem)
    reason = f"{name}: {'; '.join(problems)}"
    return ChosenAttention("sdpa", None if wanted == "auto" else reason), SDPA, reason


def _is_hopper(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == HOPPER


def _problem(backend: AttentionBackendName, model: Any, device: torch.device) -> str | None:
    """Why a kernel cannot be used for this model, found out by using it once."""
    sizes = {module.inner_dim // module.heads for module in _attentions(model)}
    try:
        with attention_backend(backend):  # loads the kernel; the process-wide default is the old one afterwards
            pass
        for size in sizes:
            tensors = [_numbers(seed, size, model.dtype, device) for seed in range(3)]
            ours, expected = (dispatch_attention_fn(*tensors, backend=each).float() for each in (backend, SDPA))
            if not (ours - expected).norm() <= FARTHEST * expected.norm():
                return f"{backend.value} gives wrong results on {device}"
    except Exception as error:  # noqa: BLE001 - a kernel may fail in any way; SDPA is there
        raise_if_poisoned(error)
        return first_line(error)
    return None


def _numbers(seed: int, size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Shape (1, 128 tokens, 2 heads, size)."""
    return torch.randn(1, 128, 2, size, generator=torch.Generator().manual_seed(seed)).to(device, dtype)


def _attentions(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if hasattr(module, "processor") and hasattr(module, "heads"))


def _is_plain(attn: Any) -> bool:
    """As in the transformer blocks of SDXL's UNet."""
    extras = (attn.spatial_norm, attn.group_norm, attn.norm_cross, attn.norm_q, attn.norm_k)
    return not any(extras) and not attn.residual_connection and attn.rescale_output_factor == 1.0

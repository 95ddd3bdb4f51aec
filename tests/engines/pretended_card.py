"""Finds on the CPU where a loop would make the host wait for a card."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

READS = {
    "aten::_local_scalar_dense",  # item(), bool(), int(), a tensor as an index
    "aten::nonzero",  # how many there are decides the shape of the answer
    "aten::_linalg_check_errors",  # linalg.solve and its like look whether it worked
    "aten::is_nonzero",
    "aten::equal",
}


class PretendedCard(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the tensors that a card would hold: those put there, and all that is computed with one of them.

    The `model` lives there, and so does all that it is called with and makes. `waits` names what makes the host wait:
    a number that is read from the card, and a tensor of the host that is met by one of the card, so that it must have
    been sent there. Single numbers travel with the call and cost nothing.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held: MutableMapping[torch.Tensor, bool] = WeakTensorKeyDictionary()
        self._in_model = False
        self.waits: list[str] = []
        self._model = model

    def __enter__(self) -> Self:
        self._hooks = [
            self._model.register_forward_pre_hook(self._enter, with_kwargs=True),
            self._model.register_forward_hook(self._leave),
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def put(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            self._held[tensor] = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        given = _tensors((args, kwargs))
        on_card = [tensor for tensor in given if tensor in self._held]
        if on_card:
            self._note(func.name().split(".")[0], [each for each in given if each not in self._held and each.dim()])
        result = func(*args, **(kwargs or {}))
        if on_card or self._in_model:
            self.put(_tensors(result))
        return result

    def _enter(self, _model: Any, args: Any, kwargs: Any) -> None:
        self._in_model = True
        self.put(_tensors((args, kwargs)))

    def _leave(self, _model: Any, _args: Any, result: Any) -> None:
        self._in_model = False
        self.put(_tensors(result))

    def _note(self, name: str, sent: Iterable[torch.Tensor]) -> None:
        if name in READS:
            self.waits.append(f"{name} reads from the card")
        for tensor in () if self._in_model else sent:
            self.waits.append(f"{tuple(tensor.shape)} is sent to the card for {name}")
            self.put([tensor])  # and stays there


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]

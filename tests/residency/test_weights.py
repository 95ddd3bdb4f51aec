"""Weights that leave their device come back bit by bit, and stay the objects that they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ourvidz_worker.engines.residency.weights import ModuleWeights

CPU = torch.device("cpu")


class Tied(nn.Module):
    """A head that is the embedding, two weights that are one memory, and a buffer that no file holds."""

    frequencies: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight.data = self.first.weight.data
        self.register_buffer("frequencies", torch.rand(3, dtype=torch.float64), persistent=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.second(self.first(self.embedding(tokens))) * self.frequencies.sum()
        scores: torch.Tensor = self.head(hidden)
        return scores


@pytest.fixture
def model() -> Tied:
    torch.manual_seed(0)
    return Tied().requires_grad_(requires_grad=False)


def addresses(module: nn.Module) -> list[int]:
    return [weight.data_ptr() for weight in (*module.parameters(), *module.buffers())]


def move(weights: ModuleWeights) -> None:
    weights.drop()
    weights.bring()


def test_everything_comes_back_bit_by_bit(model: Tied) -> None:
    tokens = torch.arange(5)
    expected, state = model(tokens), {name: weight.clone() for name, weight in model.state_dict().items()}
    weights = ModuleWeights([model], CPU)
    before, parameters = addresses(model), list(model.parameters())
    for _ in range(3):
        move(weights)
        assert torch.equal(model(tokens), expected)
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    assert not set(addresses(model)) & set(before), "it came back as another copy"
    assert all(now is then for now, then in zip(model.parameters(), parameters, strict=True))


def test_what_is_shared_stays_shared_and_counts_once(model: Tied) -> None:
    weights = ModuleWeights([model], CPU)
    assert weights.bytes == (7 * 4 + 4 * 4 + 4 + 4) * 4 + 3 * 8
    move(weights)
    assert model.head.weight is model.embedding.weight
    assert model.first.weight.data_ptr() == model.second.weight.data_ptr()
    assert ModuleWeights([model], CPU).bytes == weights.bytes


def test_a_module_in_two_places_is_moved_once(model: Tied) -> None:
    weights = ModuleWeights([model, model.first], CPU)
    assert weights.bytes == ModuleWeights([model], CPU).bytes
    move(weights)
    assert model.first.weight.data_ptr() == model.second.weight.data_ptr()


def test_weights_in_a_mapped_file_are_copied_alone(tmp_path: Path) -> None:
    """Tensors of one file share its memory; the rest of the file is not theirs."""
    save_file({"weight": torch.rand(4, 4), "bias": torch.rand(4), "other": torch.rand(1000)}, tmp_path / "weights")
    layer = nn.Linear(4, 4)
    layer.load_state_dict({k: v for k, v in load_file(tmp_path / "weights").items() if k != "other"}, assign=True)
    expected = layer.weight.clone()
    weights = ModuleWeights([layer], CPU)
    assert weights.bytes == 20 * 4
    move(weights)
    assert torch.equal(layer.weight, expected)
    assert layer.weight.untyped_storage().nbytes() == 64


def test_the_copy_on_the_host_is_made_once(model: Tied) -> None:
    weights = ModuleWeights([model], CPU)
    weights.drop()
    hosts = addresses(model)
    for _ in range(2):
        weights.bring()
        assert not set(addresses(model)) & set(hosts)
        weights.drop()
        assert addresses(model) == hosts


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_weight_that_was_changed_on_the_device_comes_back_changed(model: Tied, how: str) -> None:
    weights = ModuleWeights([model], CPU)
    move(weights)
    with torch.no_grad():
        if how == "in place":
            model.first.bias.add_(1.0)
        else:
            model.first.bias.data = model.first.bias.data + 1.0
    expected = model.first.bias.clone()
    move(weights)
    assert torch.equal(model.first.bias, expected)


def test_another_precision_for_a_while_does_no_harm(model: Tied) -> None:
    """As a VAE that decodes in float32 and goes back to half precision."""
    model.half()
    expected = model.first.weight.clone()
    weights = ModuleWeights([model], CPU)
    move(weights)
    model.float()
    model.half()
    move(weights)
    assert torch.equal(model.first.weight, expected)


def test_the_order_of_memory_is_kept() -> None:
    convolution = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    move(ModuleWeights([convolution], CPU))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_what_finds_no_room_stays_on_the_host_whole(model: Tied, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.arange(5)
    expected = model(tokens)
    weights = ModuleWeights([model], CPU)
    weights.drop()
    hosts, original, left = addresses(model), torch.Tensor.to, [2]

    def to(self: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        if kwargs.get("copy"):
            left[0] -= 1
            if left[0] < 0:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, *args, **kwargs)  # type: ignore[call-overload, no-any-return]

    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "to", to)
        with pytest.raises(torch.OutOfMemoryError):
            weights.bring()
    assert addresses(model) == hosts
    weights.bring()
    assert torch.equal(model(tokens), expected)


def test_from_a_card_the_copy_is_pinned_where_that_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meta tensor stands for one on a card; the copy of its values is left out."""
    from ourvidz_worker.engines.residency import weights

    asked: list[bool] = []
    original = torch.empty_like

    def empty_like(tensor: torch.Tensor, *, device: str, pin_memory: bool = False) -> torch.Tensor:
        asked.append(pin_memory)
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return original(tensor, device=device)

    monkeypatch.setattr(torch, "empty_like", empty_like)
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, source: self)
    assert weights._on_host(torch.empty(3, device="meta")).device == CPU
    assert asked == [True, False]

"""A card without room is a sentence before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ourvidz_worker.engines import headroom
from ourvidz_worker.engines.headroom import require_headroom, room_for_weights
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.errors import ConfigurationError, OutOfMemory
from tests.residency.declared import GB, DeclaredWeights
from tests.volume.weight_files import write_weights

CARD = torch.device("cuda:0")
NEEDED = 6_940_000_000


def test_room_enough_is_fine() -> None:
    require_headroom(CARD, NEEDED, "SDXL", memory=lambda device: (NEEDED, 48_000_000_000))


def test_a_card_that_others_use_may_have_room_later() -> None:
    with pytest.raises(OutOfMemory) as caught:
        require_headroom(CARD, NEEDED, "SDXL", memory=lambda device: (3_100_000_000, 48_000_000_000))
    assert "SDXL needs 6.9 GB, and 3.1 of 48.0 GB are free on cuda:0: end what else runs" in str(caught.value)
    assert caught.value.retryable


def test_a_card_that_is_too_small_stays_so() -> None:
    with pytest.raises(ConfigurationError, match=r"SDXL needs 6\.9 GB, and cuda:0 has 4\.0 GB in all: choose a pod"):
        require_headroom(CARD, NEEDED, "SDXL", memory=lambda device: (3_000_000_000, 4_000_000_000))


def test_the_cpu_is_not_asked() -> None:
    require_headroom(torch.device("cpu"), 10**15, "SDXL", memory=lambda device: (0, 0))


def test_what_is_idle_makes_room_for_weights() -> None:
    residency, idle = Residency(10 * GB), DeclaredWeights(6)
    residency.add("qwen", idle, rank=Rank.LANGUAGE)
    with room_for_weights(residency, torch.device("cpu"), NEEDED, "SDXL"):
        assert not idle.on_card
        assert residency.claimed_bytes == NEEDED
    assert residency.claimed_bytes == 0


def test_a_card_that_is_too_small_evicts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headroom, "_card_memory", lambda device: (3_000_000_000, 4_000_000_000))
    residency, idle = Residency(4 * GB), DeclaredWeights(1)
    residency.add("qwen", idle, rank=Rank.LANGUAGE)
    with (
        pytest.raises(ConfigurationError, match=r"SDXL needs 6\.9 GB"),
        room_for_weights(residency, CARD, NEEDED, "SDXL"),
    ):
        pass
    assert idle.on_card


def test_weights_are_counted_in_the_dtype_they_are_held_in(tmp_path: Path) -> None:
    write_weights(tmp_path / "unet" / "model.safetensors", {"a": (10, 10), "b": (5,)}, dtype="F32", width=4)
    write_weights(tmp_path / "unet" / "model.fp16.safetensors", {"a": (10, 10), "b": (5,)})
    write_weights(tmp_path / "te" / "model-00001-of-00001.safetensors", {"ids": (7,)}, dtype="I64", width=8)
    (tmp_path / "te" / "config.json").write_text("{}")
    (tmp_path / "Wan2.1_VAE.pth").write_bytes(bytes(1000))
    assert loaded_bytes(tmp_path / "unet", "float16") == 210
    assert loaded_bytes(tmp_path / "unet" / "model.safetensors", "float32") == 420
    assert loaded_bytes(tmp_path, "bfloat16") == 210 + 56 + 1000
    (tmp_path / "model_index.json").write_text("{}")
    write_weights(tmp_path / "the_same_in_one_file.safetensors", {"a": (10, 10), "b": (5,)})
    (tmp_path / "unet" / "model.bin").write_bytes(bytes(1000))
    assert loaded_bytes(tmp_path, "bfloat16") == 210 + 56

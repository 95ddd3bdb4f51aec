"""What a model library raises is sorted by what the caller does next."""

from __future__ import annotations

import pytest
import torch

from ourvidz_worker.engines.devices import classified_errors, device_named, dtype_named, free_cache, memory_of
from ourvidz_worker.errors import BadJob, ConfigurationError, Fenced, OutOfMemory, PoisonedContext


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (torch.AcceleratorError("CUDA error: an illegal memory access", 700), PoisonedContext),
        (RuntimeError("CUDA error: device-side assert triggered\nmore"), PoisonedContext),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), RuntimeError),
        (ValueError(), ValueError),
        (BadJob("the seed is wrong"), BadJob),
        (Fenced(), Fenced),
    ],
)
def test_errors_are_sorted_by_what_happens_next(raised: BaseException, expected: type[BaseException]) -> None:
    with pytest.raises(expected) as caught, classified_errors("SDXL"):
        raise raised
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)


def test_the_cpu_has_no_card_memory() -> None:
    assert memory_of(torch.device("cpu")) is None
    free_cache()


def test_devices_are_found_by_name() -> None:
    assert device_named("cpu") == torch.device("cpu")
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigurationError, match="device = 'cuda:99'"):
        device_named("cuda:99")


def test_the_peak_is_told_once_in_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    peaks = [3_000_000_000]
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peaks[-1])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peaks.append(1_000_000_000))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=48_000_000_000)
    )
    first, second = memory_of(torch.device("cuda")), memory_of(torch.device("cuda"))
    assert first is not None
    assert second is not None
    assert (first.used_gb, first.total_gb) == (3.0, 48.0)
    assert second.used_gb == 1.0


def test_the_peak_of_a_stage_is_told_beyond_what_was_held_and_the_job_s_peak_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from types import SimpleNamespace

    from ourvidz_worker.engines.residency.card import TorchCard

    peak, card = [9_000_000_000], TorchCard(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak[0])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 4_000_000_000)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peak.__setitem__(0, 4_000_000_000))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=48_000_000_000)
    )
    taken = card.peak()
    assert taken is not None
    peak[0] = 6_500_000_000
    assert taken() == 2_500_000_000
    assert card.total_bytes == 48_000_000_000
    memory = memory_of(torch.device("cuda"))
    assert memory is not None
    assert memory.used_gb == 9.0


def test_nothing_is_counted_on_the_cpu() -> None:
    from ourvidz_worker.engines.residency.card import TorchCard

    card = TorchCard(torch.device("cpu"))
    assert (card.total_bytes, card.peak()) == (None, None)
    card.free_cache()


def test_dtypes_are_found_by_name() -> None:
    assert dtype_named("bfloat16") is torch.bfloat16

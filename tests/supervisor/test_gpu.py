"""The cards of the machine, and which of them a process may use."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import pytest

from ourvidz_worker.ports import GpuMemory
from ourvidz_worker.supervisor.gpu import visible_cards

GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Memory:
    used: int = 12 * GB
    total: int = 48 * GB


@dataclass(slots=True)
class _Nvml:
    """Stands in for the driver library; its handles are the UUIDs themselves."""

    cards: list[str] = field(default_factory=lambda: ["GPU-aa11", "GPU-ab22", "GPU-cc33"])
    works: bool = True
    open: int = 0

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None:  # noqa: N802 - the library's own name
        if not self.works:
            raise self.NVMLError
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return self.cards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != "MIG-77":
            raise self.NVMLError
        return uuid

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:  # noqa: N802
        return handle.encode()

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return "A40"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> _Memory:  # noqa: N802
        return _Memory()


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> _Nvml:
    found = _Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    return found


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        (None, ["GPU-aa11", "GPU-ab22", "GPU-cc33"]),
        ("2, 0", ["GPU-cc33", "GPU-aa11"]),
        ("GPU-c,GPU-aa11", ["GPU-cc33", "GPU-aa11"]),
        ("1,7,0", ["GPU-ab22"]),
        ("GPU-a,0", []),
        ("MIG-77", ["MIG-77"]),
        ("MIG-78", []),
        ("", []),
        ("-1", []),
    ],
    ids=str,
)
def test_the_variable_of_cuda_counts(nvml: _Nvml, listed: str | None, seen: list[str]) -> None:
    """An entry that names no card, or several, ends the list."""
    cards = visible_cards({} if listed is None else {"CUDA_VISIBLE_DEVICES": listed})
    assert [card.uuid for card in cards] == seen
    assert [card.device for card in cards] == [f"cuda:{place}" for place in range(len(seen))]
    assert nvml.open == 0


def test_memory_is_in_gb(nvml: _Nvml) -> None:
    assert visible_cards({})[0].memory == GpuMemory(12.0, 48.0)


def test_no_driver_is_no_card_and_no_error(nvml: _Nvml) -> None:
    nvml.works = False
    assert visible_cards({}) == ()

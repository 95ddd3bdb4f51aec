from __future__ import annotations

import pytest

from ourvidz_worker.runtime import courier
from ourvidz_worker.runtime import worker as worker_module


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "LOOK_PAUSE", 0.0)


@pytest.fixture
def no_delivery_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "DELIVERY_GRACE", 0.0)

from __future__ import annotations

import pytest

from ourvidz_worker.runtime import worker as worker_module


@pytest.fixture
def no_delivery_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "DELIVERY_GRACE", 0.0)

"""What was counted meanwhile: metrics belong to the process, and so to every test that ran before."""

from __future__ import annotations

from ourvidz_worker.instruments.metrics import REGISTRY


class Counted:
    """Samples since it was made."""

    def __init__(self) -> None:
        self._before = _samples()

    def since(self, name: str, **labels: str) -> float:
        """By how much a sample grew, or all of its name with these labels together."""
        wanted = labels.items()
        return sum(
            value - self._before.get(key, 0.0)
            for key, value in _samples().items()
            if key[0] == name and wanted <= dict(key[1]).items()
        )


def _samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
    }

"""The models that ship with the package, as the `models` commands tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ourvidz_worker.engines.demo.models import PARTS, files_of, findings
from ourvidz_worker.engines.volume.model_config import ModelsConfig


@dataclass(frozen=True, slots=True)
class DemoStock:
    """`files` and `bytes` are what this version ships of a part; `findings` say what of it is missing or damaged."""

    name: str
    files: int
    bytes: int
    findings: Sequence[str]


def demo_stocks(models: ModelsConfig) -> list[DemoStock]:
    """Of the parts that this version ships."""
    demo = models.demo
    if demo is None:
        return []
    shipped = ((part, files) for part in PARTS if (files := files_of(demo, part)))
    return [
        DemoStock(f"demo.{part}", len(files), sum(file.bytes for file in files), findings(demo, part))
        for part, files in shipped
    ]

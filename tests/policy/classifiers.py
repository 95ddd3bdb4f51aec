"""Picture classifiers as operators write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

NUMBER = 7


def dark(pictures: Pixels, *, adult_capable: bool) -> bool:
    return bool(pictures.max() < 128)


class Dark:
    def __call__(self, pictures: Pixels, *, adult_capable: bool) -> bool:
        return dark(pictures, adult_capable=adult_capable)


class WithoutWeights:
    def __init__(self) -> None:
        raise OSError("weights.bin is missing")

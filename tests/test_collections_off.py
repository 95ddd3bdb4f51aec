"""Garbage is collected before and after a start, and not during it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from ourvidz_worker.collections_off import without_collections


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Other tests may still want what is frozen here to be collected."""
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_made_meanwhile_is_left_out_of_later_collections() -> None:
    frozen = gc.get_freeze_count()
    with without_collections():
        assert not gc.isenabled()
        with without_collections():
            kept: list[list[int]] = [[] for _ in range(1000)]
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() - frozen >= len(kept)


def test_a_start_that_fails_leaves_collections_on() -> None:
    with pytest.raises(ValueError, match="no start"), without_collections():
        raise ValueError("no start")
    assert gc.isenabled()

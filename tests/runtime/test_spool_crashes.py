"""A process or a machine that dies between any two file operations of the spool: whole results or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.runtime.spool import Result, Spool
from tests.runtime.scene import payload, spooled

OLD = payload(config={"num_images": 3, "seed": 7})
NEW = payload(config={"num_images": 1, "seed": 8})
FAILED = Callback("job-1", "failed", error_message="the prompt is empty")
STEPS = ("open", "fsync", "replace", "rename", "mkdir", "rmdir", "unlink", "utime")


class Died(BaseException):
    """The end of the process; nothing in the product catches it."""


class Mortal:
    """Runs the spool in a process that dies after so many file operations, on a machine that may lose its power."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._flushed: set[int] = set()
        self._steps_left = 0

    def run(self, act: Callable[[], object], *, steps: int) -> bool:
        """Whether the act came to its end."""
        self._steps_left = steps
        with self._monkeypatch.context() as patch:
            for name in STEPS:
                patch.setattr(os, name, self._limited(getattr(os, name)))
            try:
                act()
            except Died:
                return False
        return True

    def _limited(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if self._steps_left == 0:
                raise Died
            self._steps_left -= 1
            if operation.__name__ == "fsync":
                self._flushed.add(os.fstat(args[0]).st_ino)
            return operation(*args, **kwargs)

        return step

    def flush(self, root: Path) -> None:
        self._flushed = {path.stat().st_ino for path in files(root)}

    def lose_power(self, root: Path) -> None:
        """A file that no fsync confirmed may have its name and be empty."""
        for path in files(root):
            if path.stat().st_ino not in self._flushed:
                path.write_bytes(b"")


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Mortal:
    return Mortal(monkeypatch)


def lives(
    mortal: Mortal, tmp_path: Path, prepare: Callable[[Spool], object], act: Callable[[Spool], object]
) -> Iterator[Spool]:
    """The spool after each possible death during `act`, with and without power, and at last after its end."""
    steps, finished = 0, False
    while not finished:
        root = tmp_path / str(steps)
        prepare(Spool(root))
        mortal.flush(root)
        finished = mortal.run(partial(act, Spool(root)), steps=steps)
        yield Spool(root)
        mortal.lose_power(root)
        yield Spool(root)
        steps += 1
    assert steps > 3, "the operations were counted"


def old(spool: Spool) -> Result:
    return spooled(spool, OLD)


def old_parked(spool: Spool) -> None:
    old(spool)
    spool.park("job-1", "old")


def new_over_parked(spool: Spool) -> None:
    old_parked(spool)
    spooled(spool, NEW)


def nothing(_spool: Spool) -> None:
    pass


@pytest.mark.parametrize("prepare", [nothing, old, old_parked])
def test_a_result_is_saved_whole_or_not_at_all(
    mortal: Mortal, tmp_path: Path, prepare: Callable[[Spool], object]
) -> None:
    pictures = {7: [b"picture 0", b"picture 1", b"picture 2"], 8: [b"picture 0"]}
    seen = set()
    for spool in lives(mortal, tmp_path, prepare, lambda spool: spooled(spool, NEW)):
        found = spool.find("job-1")
        if found is not None:
            seed = found.callback.metadata["seed"]
            seen.add(seed)
            assert [stored.asset.path.read_bytes() for stored in found.assets] == pictures[seed]
    assert found is not None, "the one that came to its end"
    # What was whole before, waiting, counts; what is parked gives way to the new one.
    expected: dict[object, set[int]] = {nothing: {8}, old: {7}, old_parked: {7, 8}}
    assert seen == expected[prepare]


@pytest.mark.parametrize("prepare", [old, new_over_parked])
def test_parking_never_loses_the_result(mortal: Mortal, tmp_path: Path, prepare: Callable[[Spool], object]) -> None:
    for spool in lives(mortal, tmp_path, prepare, lambda spool: spool.park("job-1", "reason")):
        found = spool.find("job-1")
        assert found is not None
        assert all(stored.asset.path.read_bytes().startswith(b"picture") for stored in found.assets)
        assert all(entry.result is not None for entry in spool.parked())
    assert [entry.reason for entry in spool.parked()] == ["reason"]


def test_a_new_reason_never_loses_the_parked_result(mortal: Mortal, tmp_path: Path) -> None:
    reasons = []
    for spool in lives(mortal, tmp_path, old_parked, lambda spool: spool.park("job-1", "new")):
        (entry,) = spool.parked()
        assert entry.result == spool.find("job-1")
        reasons.append(entry.reason)
    assert set(reasons) == {"old", "new"}


@pytest.mark.parametrize("prepare", [nothing, old_parked])
def test_a_report_is_parked_whole_or_not_at_all(
    mortal: Mortal, tmp_path: Path, prepare: Callable[[Spool], object]
) -> None:
    for spool in lives(mortal, tmp_path, prepare, lambda spool: spool.park_callback(FAILED, "reason")):
        assert all(entry.result is not None for entry in spool.parked())
        if prepare is old_parked:
            assert spool.find("job-1") is not None
    assert [entry.reason for entry in spool.parked()] == ["reason"]


@pytest.mark.parametrize("prepare", [old, old_parked])
def test_a_result_is_discarded_whole(mortal: Mortal, tmp_path: Path, prepare: Callable[[Spool], object]) -> None:
    """Half of a removal is neither a result nor an entry that an operator has to look at."""
    for spool in lives(mortal, tmp_path, prepare, lambda spool: spool.discard("job-1")):
        found = spool.find("job-1")
        assert found is None or len(found.assets) == 3
        assert all(entry.result is not None for entry in spool.parked())
    assert found is None

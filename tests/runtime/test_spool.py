"""The spool: a finished result is found whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ourvidz_worker.runtime.spool import Result, Spool
from tests.runtime.scene import payload, spooled

THREE = payload(config={"num_images": 3, "seed": 7})


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "deep" / "spool")


def manifest_of(result: Result) -> Path:
    return result.assets[0].asset.path.parent / "result.json"


def test_a_saved_result_is_found_as_it_was(spool: Spool) -> None:
    saved = spooled(spool, THREE)
    assert spool.find("job-1") == saved


def test_another_process_finds_it_too(spool: Spool, tmp_path: Path) -> None:
    saved = spooled(spool, THREE)
    assert Spool(tmp_path / "deep" / "spool").find("job-1") == saved


def test_a_moved_spool_still_finds_its_files(spool: Spool, tmp_path: Path) -> None:
    """The manifest names files inside its folder, not where the folder was."""
    spooled(spool, THREE)
    (tmp_path / "deep" / "spool").rename(tmp_path / "elsewhere")
    found = Spool(tmp_path / "elsewhere").find("job-1")
    assert found is not None
    assert [stored.asset.path.read_bytes() for stored in found.assets] == [b"picture 0", b"picture 1", b"picture 2"]


def test_what_was_never_saved_is_not_found(spool: Spool) -> None:
    assert spool.find("job-1") is None
    spool.folder("job-1")
    assert spool.find("job-1") is None


def test_files_without_a_manifest_are_no_result(spool: Spool) -> None:
    """It counts as finished only once the manifest has its final name."""
    saved = spooled(spool, THREE)
    manifest_of(saved).rename(manifest_of(saved).with_suffix(".json.part"))
    assert spool.find("job-1") is None


def test_a_discarded_result_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    spooled(spool, THREE)
    spool.discard("job-1")
    assert spool.find("job-1") is None
    assert list((tmp_path / "deep" / "spool").iterdir()) == []


def test_discarding_twice_is_harmless(spool: Spool) -> None:
    spool.discard("job-1")
    spool.discard("job-1")


def test_two_jobs_do_not_know_each_other(spool: Spool) -> None:
    first, second = spooled(spool, payload("job-1")), spooled(spool, payload("job-2"))
    assert (spool.find("job-1"), spool.find("job-2")) == (first, second)
    spool.discard("job-1")
    assert (spool.find("job-1"), spool.find("job-2")) == (None, second)


def test_a_new_folder_is_empty(spool: Spool) -> None:
    """Half of a first attempt must not end up in the second."""
    spooled(spool, THREE)
    assert list(spool.folder("job-1").iterdir()) == []


def test_everything_is_private_to_the_user(spool: Spool, tmp_path: Path) -> None:
    saved = spooled(spool, THREE)
    folder = saved.assets[0].asset.path.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "deep" / "spool").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="cut short"),
        pytest.param(lambda _: "[]", id="a list"),
        pytest.param(lambda _: "null", id="null"),
        pytest.param(lambda _: "\x00\x00", id="zeros, as after a power failure"),
        pytest.param(lambda text: _changed(text, assets=["x"]), id="assets are texts"),
        pytest.param(lambda text: _changed(text, assets=None), id="assets are missing"),
        pytest.param(lambda text: _changed(text, callback="x"), id="the callback is a text"),
        pytest.param(lambda text: _changed(text, callback={"job_id": "job-1"}), id="the callback lacks its status"),
        pytest.param(lambda text: _changed(text, assets=[{"key": "k", "path": 5}]), id="an asset is not one"),
        pytest.param(
            lambda text: _changed(text, assets=[], callback=json.loads(text)["callback"] | {"assets": []}),
            id="completed without assets",
        ),
    ],
)
def test_a_damaged_manifest_counts_as_none(spool: Spool, damage: Callable[[str], str]) -> None:
    manifest = manifest_of(spooled(spool, THREE))
    manifest.write_text(damage(manifest.read_text(encoding="utf-8")), encoding="utf-8")
    assert spool.find("job-1") is None


def test_a_manifest_that_is_not_text_counts_as_none(spool: Spool) -> None:
    manifest_of(spooled(spool, THREE)).write_bytes(b"\xff\xfe{")
    assert spool.find("job-1") is None


@pytest.mark.parametrize("damage", [b"", b"picture", b"picture 1 and more"])
def test_a_file_of_another_size_means_no_result(spool: Spool, damage: bytes) -> None:
    saved = spooled(spool, THREE)
    saved.assets[1].asset.path.write_bytes(damage)
    assert spool.find("job-1") is None


def test_a_missing_file_means_no_result(spool: Spool) -> None:
    saved = spooled(spool, THREE)
    saved.assets[2].asset.path.unlink()
    assert spool.find("job-1") is None


def _changed(text: str, **changes: object) -> str:
    return json.dumps(json.loads(text) | changes)

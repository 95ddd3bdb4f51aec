"""The spool: a finished result is found whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ourvidz_worker.contract.callback import Callback
from ourvidz_worker.runtime import durable
from ourvidz_worker.runtime import spool as spool_module
from ourvidz_worker.runtime.spool import Result, Room, Spool
from tests.runtime.scene import payload, spooled

THREE = payload(config={"num_images": 3, "seed": 7})
FAILED = Callback("job-1", "failed", error_message="the prompt is empty")
FAILED_TWO = Callback("job-2", "failed", error_message="the prompt is empty")
HOUR = 3600.0
GIB = 1024**3


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
    spool.draft("job-1")
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
    assert [path for path in (tmp_path / "deep" / "spool").rglob("*") if not path.is_dir()] == []
    assert spool.parked() == []


def test_discarding_twice_is_harmless(spool: Spool) -> None:
    spool.discard("job-1")
    spool.discard("job-1")


def test_two_jobs_do_not_know_each_other(spool: Spool) -> None:
    first, second = spooled(spool, payload("job-1")), spooled(spool, payload("job-2"))
    assert (spool.find("job-1"), spool.find("job-2")) == (first, second)
    spool.discard("job-1")
    assert (spool.find("job-1"), spool.find("job-2")) == (None, second)


def test_a_new_draft_is_empty(spool: Spool) -> None:
    """Half of a first attempt must not end up in the second."""
    (spool.draft("job-1") / "0.png").write_bytes(b"half a pict")
    spooled(spool, THREE)
    assert list(spool.draft("job-1").iterdir()) == []


class TestTwoWorkersAtOneJob:
    """One was paused until its lease ran out, and goes on before it notices; the other one has taken its job."""

    def test_neither_writes_into_the_files_of_the_other(self, spool: Spool) -> None:
        late = spool.draft("job-1")
        saved = spooled(spool, THREE)
        (late / "0.png").write_bytes(b"something else")
        assert spool.find("job-1") == saved
        assert saved.assets[0].asset.path.read_bytes() == b"picture 0"

    def test_the_first_whole_result_counts_for_both(self, spool: Spool) -> None:
        first = spooled(spool, THREE)
        assert spooled(spool, payload(config={"num_images": 1, "seed": 8})) == first
        assert spool.find("job-1") == first

    def test_a_damaged_one_does_not_count(self, spool: Spool) -> None:
        manifest_of(spooled(spool, THREE)).write_text("")
        second = spooled(spool, payload())
        assert spool.find("job-1") == second

    def test_the_end_of_the_job_takes_every_draft_of_it(self, spool: Spool) -> None:
        drafts = [spool.draft("job-1"), spool.draft("job-1")]
        other = [spool.draft("job-10"), spool.draft("job-1-00000000")]
        spool.discard("job-1")
        assert not any(draft.exists() for draft in drafts)
        assert all(draft.exists() for draft in other), "nor of jobs whose ids begin alike"

    def test_a_draft_of_which_nothing_is_made_goes_alone(self, spool: Spool) -> None:
        saved, draft = spooled(spool, THREE), spool.draft("job-1")
        spool.drop(draft)
        spool.drop(draft)
        assert not draft.exists()
        assert spool.find("job-1") == saved


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


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..", ""])
def test_a_manifest_names_files_of_its_own_folder_only(spool: Spool, tmp_path: Path, name: str) -> None:
    saved = spooled(spool, THREE)
    manifest = manifest_of(saved)
    document = json.loads(manifest.read_text(encoding="utf-8"))
    document["assets"][0] |= {"path": name, "bytes": Path("/etc/passwd").stat().st_size}
    manifest.write_text(json.dumps(document), encoding="utf-8")
    assert spool.find("job-1") is None


@pytest.mark.parametrize("job_id", ["", ".", "..", "../job-1", "a/b", "/tmp", "a\x00", ".job", "a" * 129, "job 1"])
def test_no_id_leads_out_of_the_spool(spool: Spool, job_id: str) -> None:
    """The parser checked a job's id; an operator's was typed."""
    spooled(spool, THREE)
    for use in (spool.draft, spool.find, spool.discard, lambda name: spool.park(name, "reason")):
        with pytest.raises(ValueError, match="job_id"):
            use(job_id)
    assert spool.find("job-1") is not None


class TestParking:
    def test_a_parked_result_is_found_and_listed(self, spool: Spool) -> None:
        saved = spooled(spool, THREE)
        before = datetime.now(UTC)
        spool.park("job-1", "the bucket is too small")
        (entry,) = spool.parked()
        assert (entry.job_id, entry.reason) == ("job-1", "the bucket is too small")
        assert before <= entry.parked_at <= datetime.now(UTC)
        found = spool.find("job-1")
        assert entry.result == found
        assert found is not None
        assert found.callback == saved.callback
        assert [stored.asset.path.read_bytes() for stored in found.assets] == [b"picture 0", b"picture 1", b"picture 2"]

    def test_the_waiting_result_comes_before_the_parked_one(self, spool: Spool) -> None:
        spooled(spool, THREE)
        spool.park("job-1", "first")
        newer = spooled(spool, payload(config={"num_images": 1, "seed": 8}))
        assert spool.find("job-1") == newer

    def test_parking_again_replaces_what_is_parked(self, spool: Spool, tmp_path: Path) -> None:
        spooled(spool, THREE)
        spool.park("job-1", "first")
        newer = spooled(spool, payload(config={"num_images": 1, "seed": 8}))
        spool.park("job-1", "second")
        (entry,) = spool.parked()
        assert entry.reason == "second"
        assert entry.result is not None
        assert entry.result.callback == newer.callback
        parked = tmp_path / "deep" / "spool" / "parked"
        assert [path.name for path in parked.iterdir()] == ["job-1"], "nothing of the first one is left"

    def test_a_parked_result_gets_a_new_reason(self, spool: Spool) -> None:
        """As after a second refusal: the files stay where they are."""
        spooled(spool, THREE)
        spool.park("job-1", "first")
        before = spool.find("job-1")
        spool.park("job-1", "second")
        (entry,) = spool.parked()
        assert (entry.reason, entry.result) == ("second", before)

    def test_there_must_be_something_to_park(self, spool: Spool) -> None:
        with pytest.raises(FileNotFoundError, match="no result of job job-1"):
            spool.park("job-1", "reason")
        spool.draft("job-1")
        with pytest.raises(FileNotFoundError, match="no result of job job-1"):
            spool.park("job-1", "reason")

    def test_a_refused_report_is_kept_without_files(self, spool: Spool) -> None:
        spool.park_callback(FAILED, "no such row", bucket="image_fast")
        (entry,) = spool.parked()
        assert entry.result == Result("image_fast", (), FAILED)
        assert entry.reason == "no such row"
        assert spool.find("job-1") is None, "there is nothing to deliver in place of a generation"

    def test_a_second_report_replaces_the_first(self, spool: Spool) -> None:
        spool.park_callback(FAILED, "first")
        spool.park_callback(FAILED, "second")
        assert [entry.reason for entry in spool.parked()] == ["second"]

    @pytest.mark.parametrize("parked", [False, True])
    def test_a_report_never_takes_the_place_of_a_result(self, spool: Spool, parked: bool) -> None:  # noqa: FBT001 - parameter
        spooled(spool, THREE)
        if parked:
            spool.park("job-1", "first")
        spool.park_callback(FAILED, "second")
        (entry,) = spool.parked()
        assert entry.reason == "second"
        assert entry.result is not None
        assert entry.result.callback.status == "completed"

    def test_a_result_takes_the_place_of_a_report(self, spool: Spool) -> None:
        spool.park_callback(FAILED, "first")
        spooled(spool, THREE)
        spool.park("job-1", "second")
        (entry,) = spool.parked()
        assert entry.result is not None
        assert len(entry.result.assets) == 3

    def test_a_new_folder_leaves_what_is_parked(self, spool: Spool) -> None:
        spooled(spool, THREE)
        spool.park("job-1", "reason")
        spool.draft("job-1")
        assert spool.find("job-1") is not None

    def test_a_discarded_job_is_parked_no_more(self, spool: Spool) -> None:
        spooled(spool, THREE)
        spool.park("job-1", "reason")
        spooled(spool, THREE)
        spool.discard("job-1")
        assert spool.find("job-1") is None
        assert spool.parked() == []

    def test_the_oldest_comes_first(self, spool: Spool, tmp_path: Path) -> None:
        for job_id, moment in (("job-b", "2026-01-02"), ("job-a", "2026-01-03"), ("job-c", "2026-01-01")):
            spooled(spool, payload(job_id))
            spool.park(job_id, "reason")
            change(parked_note(tmp_path, job_id), parked_at=f"{moment}T00:00:00+00:00")
        assert [entry.job_id for entry in spool.parked()] == ["job-c", "job-b", "job-a"]

    @pytest.mark.parametrize("note", ["", "[]", "null", '{"reason": "x"}', '{"reason": "x", "parked_at": 5}'])
    def test_a_damaged_note_is_said_and_the_result_kept(self, spool: Spool, tmp_path: Path, note: str) -> None:
        saved = spooled(spool, THREE)
        spool.park("job-1", "reason")
        parked_note(tmp_path, "job-1").write_text(note, encoding="utf-8")
        (entry,) = spool.parked()
        assert entry.reason == "its note is damaged"
        assert entry.result is not None
        assert entry.result.callback == saved.callback

    def test_a_note_without_a_zone_is_sorted_like_any_other(self, spool: Spool, tmp_path: Path) -> None:
        for job_id in ("job-a", "job-b"):
            spooled(spool, payload(job_id))
            spool.park(job_id, "reason")
        change(parked_note(tmp_path, "job-b"), parked_at="2026-01-01T00:00:00")
        assert [entry.job_id for entry in spool.parked()] == ["job-b", "job-a"]

    def test_damaged_files_are_said(self, spool: Spool, tmp_path: Path) -> None:
        spooled(spool, THREE)
        spool.park("job-1", "the bucket is too small")
        (tmp_path / "deep" / "spool" / "parked" / "job-1" / "0.png").unlink()
        (entry,) = spool.parked()
        assert (entry.job_id, entry.result) == ("job-1", None)
        assert entry.reason == "its files are damaged; the bucket is too small"

    def test_two_processes_share_a_spool(self, spool: Spool, tmp_path: Path) -> None:
        spooled(spool, THREE)
        spool.park("job-1", "reason")
        assert Spool(tmp_path / "deep" / "spool").parked() == spool.parked()

    def test_an_empty_spool_has_nothing_parked(self, spool: Spool) -> None:
        assert spool.parked() == []


class TestPrivacy:
    def test_everything_is_private_to_the_user(self, spool: Spool, tmp_path: Path) -> None:
        saved = spooled(spool, THREE)
        spool.park_callback(FAILED_TWO, "reason")
        root = tmp_path / "deep" / "spool"
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        assert saved.assets[0].asset.path.parent in folders
        assert {mode(folder) for folder in folders} == {0o700}

    def test_wider_rights_are_taken_away(self, tmp_path: Path) -> None:
        root = tmp_path / "spool"
        for folder in (root, root / "results", root / "parked"):
            folder.mkdir()
            folder.chmod(0o777)
        assert Spool(root).shortage() is None
        assert {mode(folder) for folder in (root, root / "results", root / "parked")} == {0o700}

    def test_another_users_folder_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "spool").mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        spool = Spool(tmp_path / "spool")
        assert f"belongs to another user (uid {os.getuid()})" in str(spool.shortage())
        with pytest.raises(PermissionError, match="belongs to another user"):
            spool.draft("job-1")

    def test_a_folder_that_stays_open_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on a file system without rights."""
        (tmp_path / "spool").mkdir()
        (tmp_path / "spool").chmod(0o755)
        monkeypatch.setattr(os, "chmod", lambda *_, **__: None)
        assert "is open to other users" in str(Spool(tmp_path / "spool").shortage())

    def test_a_link_in_the_place_of_a_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "spool").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "spool" / "results").symlink_to(tmp_path / "elsewhere")
        assert "is not a folder" in str(Spool(tmp_path / "spool").shortage())

    def test_the_spool_itself_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "volume").mkdir()
        (tmp_path / "spool").symlink_to(tmp_path / "volume")
        assert Spool(tmp_path / "spool").shortage() is None
        assert mode(tmp_path / "volume") == 0o700


class TestShortage:
    def test_enough_room_is_no_shortage(self, tmp_path: Path) -> None:
        assert Spool(tmp_path / "spool", reserve_bytes=GIB, room=lambda _: Room(GIB, 100 * GIB)).shortage() is None

    def test_the_sentence_has_the_figures(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "spool", reserve_bytes=GIB, room=lambda _: Room(120 * 1024 * 1024, 100 * GIB))
        assert spool.shortage() == (
            f"the spool {tmp_path}/spool has 120 MiB free, less than the 1024 MiB kept in reserve: "
            "free some space or move OURVIDZ_SPOOL"
        )

    def test_a_small_disk_keeps_a_twentieth(self, tmp_path: Path) -> None:
        """A reserve for a pod's volume must not keep a small one from being used at all."""
        room = [Room(GIB, 20 * GIB)]
        spool = Spool(tmp_path / "spool", reserve_bytes=100 * GIB, room=lambda _: room[0])
        assert spool.shortage() is None
        room[0] = Room(GIB - 1, 20 * GIB)
        assert "1024 MiB kept in reserve" in (spool.shortage() or "")

    def test_it_ends_when_there_is_room_again(self, tmp_path: Path) -> None:
        free = [0]
        spool = Spool(tmp_path / "spool", reserve_bytes=1, room=lambda _: Room(free[0], 100 * GIB))
        assert spool.shortage() is not None
        free[0] = 1
        assert spool.shortage() is None

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
    def test_what_keeps_files_from_being_written_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """A quota and a read-only disk do not show in the free space."""
        spool = Spool(tmp_path / "spool")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(number))
            assert spool.shortage() == (
                f"the spool {tmp_path}/spool cannot be written ({os.strerror(number)}): mend that or move OURVIDZ_SPOOL"
            )
        assert spool.shortage() is None
        assert list((tmp_path / "spool").glob(".*")) == [], "the file of the test is gone"

    def test_a_file_in_its_place_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "spool").write_text("")
        assert "cannot be written (File exists)" in str(Spool(tmp_path / "spool").shortage())

    def test_a_look_writes_nothing_while_all_is_well(self, tmp_path: Path, probes: list[Path]) -> None:
        """It is asked before every claim."""
        spool = Spool(tmp_path / "spool")
        for _ in range(3):
            assert spool.shortage() is None
        assert probes == [tmp_path / "spool"]

    def test_after_a_failed_save_it_looks_closer(
        self, tmp_path: Path, probes: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = Spool(tmp_path / "spool")
        spool.shortage()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing(errno.EDQUOT))
            with pytest.raises(OSError, match=os.strerror(errno.EDQUOT)):
                spooled(spool, THREE)
        spool.shortage()
        assert len(probes) == 2

    def test_from_time_to_time_it_looks_closer(
        self, tmp_path: Path, probes: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool = Spool(tmp_path / "spool")
        spool.shortage()
        later = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: later)
        spool.shortage()
        assert len(probes) == 2

    def test_the_real_disk_is_measured(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spool_module, "_RESERVED_SHARE", 1)
        usage = shutil.disk_usage(tmp_path)
        assert Spool(tmp_path / "spool", reserve_bytes=usage.total).shortage() is not None


class TestSweep:
    def test_what_nobody_came_back_for_is_removed(self, spool: Spool, tmp_path: Path) -> None:
        spooled(spool, payload("job-old"))
        spooled(spool, payload("job-new"))
        grow_old(tmp_path, "results/job-old")
        assert spool.sweep(HOUR) == ["job-old"]
        assert spool.find("job-old") is None
        assert spool.find("job-new") is not None

    def test_what_is_parked_stays(self, spool: Spool, tmp_path: Path) -> None:
        spooled(spool, THREE)
        spool.park("job-1", "reason")
        spool.park_callback(FAILED_TWO, "reason")
        grow_old(tmp_path, "parked/job-1", "parked/job-2")
        assert spool.sweep(HOUR) == []
        assert [entry.job_id for entry in spool.parked()] == ["job-1", "job-2"]

    def test_drafts_go_unless_somebody_writes_to_them(self, spool: Spool, tmp_path: Path) -> None:
        old, written_to = (spool.draft(job_id) for job_id in ("job-old", "job-written-to"))
        for draft in (old, written_to):
            (draft / "0.png").write_bytes(b"half a pict")
            grow_old(tmp_path, f"results/{draft.name}")
        os.utime(written_to / "0.png")  # the file grows, the folder does not change
        assert spool.sweep(HOUR) == []
        assert (old.exists(), written_to.exists()) == (False, True)

    def test_what_was_just_found_stays_during_its_delivery(self, spool: Spool, tmp_path: Path) -> None:
        spooled(spool, THREE)
        grow_old(tmp_path, "results/job-1")
        assert spool.find("job-1") is not None
        assert Spool(tmp_path / "deep" / "spool").sweep(HOUR) == []

    def test_leftovers_of_a_crash_go(self, spool: Spool, tmp_path: Path) -> None:
        spool.draft("job-1")
        names = (".probe-1", "results/.job-1-2", "parked/.job-1-3")
        for name in names:
            leftover = tmp_path / "deep" / "spool" / name
            if "probe" in name:
                leftover.write_text("")
            else:
                leftover.mkdir()
        assert spool.sweep(HOUR) == []
        assert all((tmp_path / "deep" / "spool" / name).exists() for name in names)
        grow_old(tmp_path, *names)
        assert spool.sweep(HOUR) == []
        assert not any((tmp_path / "deep" / "spool" / name).exists() for name in names)

    def test_an_entry_that_vanishes_meanwhile_does_no_harm(
        self, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another worker discards it between two looks."""
        spooled(spool, THREE)
        grow_old(tmp_path, "results/job-1")

        def vanishing(_path: Path) -> Any:
            raise FileNotFoundError

        with monkeypatch.context() as patch:
            patch.setattr(Path, "lstat", vanishing)
            assert spool.sweep(HOUR) == []

    def test_an_empty_spool_is_swept_too(self, spool: Spool) -> None:
        assert spool.sweep(0) == []


def test_what_cannot_be_removed_is_logged(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job itself is over: neither it nor the worker may fail for this."""
    spooled(spool, THREE)

    def read_only(_path: Path, _target: Path) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "rename", read_only)
    with capture_logs() as lines:
        spool.discard("job-1")
    assert [(line["event"], line["job_id"]) for line in lines] == [("spool_not_emptied", "job-1")]


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were written to for a test."""
    seen: list[Path] = []
    monkeypatch.setattr(durable, "probe", seen.append)
    return seen


def failing(number: int) -> Callable[[int], None]:
    def fsync(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    return fsync


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def parked_note(tmp_path: Path, job_id: str) -> Path:
    return tmp_path / "deep" / "spool" / "parked" / job_id / "parked.json"


def change(file: Path, **changes: object) -> None:
    file.write_text(_changed(file.read_text(encoding="utf-8"), **changes), encoding="utf-8")


def grow_old(tmp_path: Path, *names: str) -> None:
    for name in names:
        path = tmp_path / "deep" / "spool" / name
        inside = list(path.iterdir()) if path.is_dir() else []
        for old in (*inside, path):
            os.utime(old, (time.time() - 2 * HOUR,) * 2)

"""Files from a hub: resumed, checked, and never half under their final name."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ourvidz_worker.backend.hub.downloads import Download, Hub
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError
from tests.volume.hub_server import HubServer

ADDRESS = "org/name/resolve/abc/model.safetensors"
CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Fetch = Callable[..., None]


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer({ADDRESS: CONTENT}) as server:
        yield server


@pytest.fixture
def final(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.safetensors"


@pytest.fixture
def fetch(server: HubServer, final: Path) -> Fetch:
    """Download the file, and see to it at each step that the final name holds nothing half."""

    def run(*, token: str | None = None, on_bytes: Callable[[int, int], None] | None = None, **known: Any) -> None:
        def watched(done: int, total: int) -> None:
            assert not final.exists() or final.read_bytes() in (CONTENT, b"the old file")
            if on_bytes is not None:
                on_bytes(done, total)

        with Hub(url=server.url, token=token, sleep=lambda seconds: None) as hub:
            hub.fetch(Download(ADDRESS, final, **known), watched)

    return run


def left_over(final: Path) -> list[str]:
    return sorted(path.name for path in final.parent.iterdir() if path != final)


def break_off(server: HubServer, fetch: Fetch, *, after: int) -> None:
    """Leave a part behind, as a process that was ended does."""
    server.breaks[ADDRESS] = [after]

    def end(done: int, _total: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(on_bytes=end)


def test_a_file_comes_whole_and_nothing_else_stays(server: HubServer, fetch: Fetch, final: Path) -> None:
    heard: list[tuple[int, int]] = []
    fetch(bytes=len(CONTENT), sha256=SHA256, on_bytes=lambda done, total: heard.append((done, total)))
    assert final.read_bytes() == CONTENT
    assert left_over(final) == []
    assert heard[0] == (0, len(CONTENT))
    assert heard[-1] == (len(CONTENT), len(CONTENT))


def test_a_name_with_signs_of_a_url_is_asked_for_as_it_is(server: HubServer, final: Path) -> None:
    server.files["org/name/resolve/abc/a%20b%23c%3Fd%25e.safetensors"] = CONTENT
    with Hub(url=server.url) as hub:
        hub.fetch(Download("org/name/resolve/abc/a b#c?d%e.safetensors", final), lambda done, total: None)
    assert final.read_bytes() == CONTENT


def test_a_connection_that_breaks_is_taken_up_where_it_ended(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.breaks[ADDRESS] = [100_000, 300_000]
    fetch(bytes=len(CONTENT), sha256=SHA256)
    assert final.read_bytes() == CONTENT
    assert [asked.range for asked in server.asked] == [None, "bytes=100000-", "bytes=400000-"]


def test_a_later_process_goes_on_with_what_is_there(server: HubServer, fetch: Fetch, final: Path) -> None:
    break_off(server, fetch, after=200_000)
    assert left_over(final) == ["model.safetensors.part", "model.safetensors.part.etag"]
    fetch(sha256=SHA256)
    assert final.read_bytes() == CONTENT
    assert server.asked[-1].range == "bytes=200000-"


def test_a_file_that_changed_meanwhile_is_not_glued(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.files[ADDRESS] = b"an earlier version" * 50_000
    break_off(server, fetch, after=200_000)
    server.files[ADDRESS] = CONTENT
    fetch()
    assert server.asked[-1].range == "bytes=200000-"
    assert final.read_bytes() == CONTENT


def test_a_hub_without_ranges_sends_it_all_again(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.knows_ranges = False
    server.breaks[ADDRESS] = [100_000]
    fetch(sha256=SHA256)
    assert final.read_bytes() == CONTENT


def test_a_process_that_ended_between_the_last_byte_and_the_name_loses_nothing(
    server: HubServer, fetch: Fetch, final: Path
) -> None:
    break_off(server, fetch, after=len(CONTENT))
    asked = len(server.asked)
    fetch(sha256=SHA256)
    assert final.read_bytes() == CONTENT
    assert len(server.asked) == asked + 1


def test_a_part_that_is_too_long_is_dropped(server: HubServer, fetch: Fetch, final: Path) -> None:
    break_off(server, fetch, after=len(CONTENT))
    with (final.parent / "model.safetensors.part").open("ab") as part:
        part.write(b"more")
    fetch()
    assert final.read_bytes() == CONTENT


def test_the_token_stays_with_the_hub(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.redirects = True
    fetch(token="secret")
    hub, elsewhere = server.asked
    assert hub.headers["Authorization"] == "Bearer secret"
    assert "Authorization" not in elsewhere.headers
    assert final.read_bytes() == CONTENT


def test_a_download_is_taken_up_behind_a_redirect(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.redirects = True
    server.breaks[ADDRESS] = [100_000]
    fetch()
    assert server.asked[-1].range == "bytes=100000-"
    assert final.read_bytes() == CONTENT


@pytest.mark.parametrize("known_by", ["models.toml", "the hub"])
def test_other_content_is_thrown_away(server: HubServer, fetch: Fetch, final: Path, known_by: str) -> None:
    server.files[ADDRESS] = CONTENT[::-1]
    server.redirects = True
    server.stated_sha256 = SHA256 if known_by == "the hub" else None
    with pytest.raises(BackendRefused, match=f"is not what it should be .*expected {SHA256}"):
        fetch(sha256=SHA256 if known_by == "models.toml" else None)
    assert not final.exists()
    assert left_over(final) == []


def test_another_size_is_refused_before_anything_is_downloaded(server: HubServer, fetch: Fetch, final: Path) -> None:
    with pytest.raises(BackendRefused, match=f"has {len(CONTENT)} bytes on the hub, and 5 in models.toml"):
        fetch(bytes=5)
    assert left_over(final) == []


@pytest.mark.parametrize(
    ("status", "token", "said"),
    [
        (401, None, "check its source in models.toml, and if the model is gated, accept its terms there and set HF"),
        (401, "secret", "(HTTP 401): HF_TOKEN is not valid there: set one that is"),
        (403, None, "set HF_TOKEN"),
        (403, "secret", "with the account that HF_TOKEN belongs to"),
        (404, None, "the hub has no org/name"),
        (410, None, "the hub answered HTTP 410 for org/name/resolve/abc/model.safetensors: check HF_ENDPOINT"),
    ],
)
def test_a_refusal_is_a_sentence_and_not_repeated(
    server: HubServer, fetch: Fetch, status: int, token: str | None, said: str
) -> None:
    server.statuses[ADDRESS] = [status]
    with pytest.raises(BackendRefused) as caught:
        fetch(token=token)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_hub_in_trouble_is_asked_again(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.statuses[ADDRESS] = [503, 429, 500, 502]
    fetch()
    assert final.read_bytes() == CONTENT


def test_a_hub_that_stays_in_trouble_is_given_up_and_what_came_is_kept(
    server: HubServer, fetch: Fetch, final: Path
) -> None:
    server.breaks[ADDRESS] = [100_000]
    server.statuses[ADDRESS] = []

    def then_fail(done: int, _total: int) -> None:
        if done == 100_000:
            server.statuses[ADDRESS] = [503] * 20

    with pytest.raises(BackendUnavailable, match=r"HTTP 503 .*: go on with the same command later"):
        fetch(on_bytes=then_fail)
    assert len(server.asked) == 1 + 5
    assert (final.parent / "model.safetensors.part").stat().st_size == 100_000


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("17", 17, 17),
        ("86400", 300, 300),
        ("a moment in 200 s", 100, 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.5, 1),
        ("soon", 0.5, 1),
    ],
)
def test_a_busy_hub_is_given_the_time_it_asks_for(
    server: HubServer, final: Path, asked: str, least: float, most: float
) -> None:
    server.statuses[ADDRESS] = [429]
    if asked == "a moment in 200 s":
        asked = format_datetime(datetime.now(UTC) + timedelta(seconds=200))
    server.refusal_headers["Retry-After"] = asked
    slept: list[float] = []
    with Hub(url=server.url, sleep=slept.append) as hub:
        hub.fetch(Download(ADDRESS, final), lambda done, total: None)
    [pause] = slept
    assert least <= pause <= most


def test_a_hub_without_ranges_that_breaks_again_and_again_is_given_up(server: HubServer, fetch: Fetch) -> None:
    """It sends more and less in turn, and never anything that had not been there before."""
    server.knows_ranges = False
    server.breaks[ADDRESS] = [100_000, 50_000] * 10
    with pytest.raises(BackendUnavailable, match=r"check the network and HF_ENDPOINT, then go on"):
        fetch()
    assert len(server.asked) == 1 + 5


@pytest.mark.parametrize("kept", [b"\xff\xfe", b'"a\nb"', b"", b'W/"weak"'])
def test_a_part_of_unknown_version_is_not_gone_on_with(
    server: HubServer, fetch: Fetch, final: Path, kept: bytes
) -> None:
    break_off(server, fetch, after=200_000)
    (final.parent / "model.safetensors.part.etag").write_bytes(kept)
    fetch()
    assert server.asked[-1].range is None
    assert final.read_bytes() == CONTENT


def test_many_breaks_are_fine_as_long_as_something_comes(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.breaks[ADDRESS] = [50_000] * 12
    fetch(sha256=SHA256)
    assert final.read_bytes() == CONTENT


def test_nobody_there_is_a_sentence(final: Path) -> None:
    sentence = r"the download of org/name.* from http://127.0.0.1:9 failed \(.*0 bytes of it are there: check"
    said = pytest.raises(BackendUnavailable, match=sentence)
    with Hub(url="http://127.0.0.1:9", sleep=lambda seconds: None) as hub, said:
        hub.fetch(Download(ADDRESS, final), lambda done, total: None)


def test_a_compressed_answer_is_refused(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.extra_headers["Content-Encoding"] = "gzip"
    with pytest.raises(BackendRefused, match="compressed"):
        fetch()
    assert not final.exists()


def test_an_answer_of_unknown_length_is_taken_to_its_end(server: HubServer, fetch: Fetch, final: Path) -> None:
    server.states_lengths = False
    fetch(sha256=SHA256)
    assert final.read_bytes() == CONTENT


def test_too_little_room_is_said_before_the_first_byte(
    server: HubServer, fetch: Fetch, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ConfigurationError, match=rf"needs {len(CONTENT)} bytes more, and its disk has 1000 free"):
        fetch()
    assert (final.parent / "model.safetensors.part").stat().st_size == 0


def test_a_disk_that_fills_up_is_a_sentence_and_leaves_the_old_file(
    server: HubServer, fetch: Fetch, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final.parent.mkdir()
    final.write_bytes(b"the old file")
    written = 0

    def write(descriptor: int, content: Any, _write: Callable[..., int] = os.write) -> int:
        nonlocal written
        if written > 300_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += len(content)
        return _write(descriptor, content)

    monkeypatch.setattr("os.write", write)
    with pytest.raises(ConfigurationError, match="cannot be written: No space left on device"):
        fetch()
    assert final.read_bytes() == b"the old file"
    assert (final.parent / "model.safetensors.part").stat().st_size > 300_000


def test_a_second_process_waits_for_the_first(server: HubServer, fetch: Fetch, final: Path) -> None:
    final.parent.mkdir()
    with (final.parent / "model.safetensors.part").open("ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match=f"another process downloads {final}"):
            fetch()
    fetch()
    assert final.read_bytes() == CONTENT


def test_a_file_that_the_first_process_renamed_meanwhile_is_not_touched(
    server: HubServer, fetch: Fetch, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second opened the part, the first finished it, and only then the second has the lock."""
    final.parent.mkdir()
    part = final.parent / "model.safetensors.part"
    part.write_bytes(CONTENT)
    finished: list[int] = []

    def lock(descriptor: Any, operation: int) -> None:
        if not finished:
            finished.append(operation)
            part.rename(final)

    monkeypatch.setattr("fcntl.flock", lock)
    inode = final.parent / "kept"
    fetch(on_bytes=lambda done, total: None if inode.exists() else os.link(final, inode))
    assert inode.read_bytes() == CONTENT
    assert final.read_bytes() == CONTENT


def test_a_volume_without_locks_will_do(
    server: HubServer, fetch: Fetch, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock(descriptor: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", lock)
    fetch()
    assert final.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_a_sentence(server: HubServer, fetch: Fetch, final: Path) -> None:
    final.parent.write_text("a file in the way")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        fetch()

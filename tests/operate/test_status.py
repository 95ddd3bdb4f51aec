"""`ourvidz-worker status`: for a person, for a script, and in a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ourvidz_worker.cli.exit_codes import INTERRUPTED
from tests.operate.scene import Scene
from tests.operate.scripted_pod import BUSY, failure, worker
from tests.support.commands import COMMAND_SECONDS, ROOT, clean_environment
from tests.support.ports import free_port
from tests.support.said import Said, said_by, set_environment

NASTY = "\x1b[2J\x1b]0;title\x07 [red]markup[/] \u202e"


class Terminal:
    """`status` in a terminal of 80 columns."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ourvidz_worker", "status", *arguments],
            env=clean_environment({**environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "50"}),
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def shows(self, text: str) -> bool:
        while text not in self.shown and select.select([self._ours], [], [], COMMAND_SECONDS)[0]:
            try:
                self.shown += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # nobody is at the other end any more
                break
        return text in self.shown

    def types(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def ends(self, number: int | None = None) -> int:
        if number is not None:
            self._process.send_signal(number)
        try:
            return self._process.wait(timeout=COMMAND_SECONDS)
        finally:
            self._process.kill()
            os.close(self._ours)


@pytest.fixture
def environment(scene: Scene, monkeypatch: pytest.MonkeyPatch, own_logging: None) -> dict[str, str]:
    set_environment(monkeypatch, scene.environment)
    monkeypatch.setenv("COLUMNS", "80")
    return scene.environment


@pytest.fixture
def said(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Said:
    return said_by(capsys, "status")


def test_all_is_well(said: Said) -> None:
    assert said.code == 0
    assert "all is well" in said.out
    assert "video_fast" in said.out
    assert "12/25" in said.out
    assert "47.4 of 51.5 GB, 4.1 free" in said.out


def test_it_fits_into_80_columns(scene: Scene, environment: None, capsys: pytest.CaptureFixture[str]) -> None:
    scene.submit()
    scene.bury(scene.taken())
    said = said_by(capsys, "status")
    assert max(map(len, said.out.splitlines())) <= 80


def test_a_script_reads_the_facts(scene: Scene, environment: None, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = scene.submit()
    scene.bury(scene.taken())
    waiting = scene.submit("video_fast")
    scene.park(job_id)
    said = said_by(capsys, "status", "--json")
    assert said.code == 1, "dead letters and parked results need a person"
    sdxl, wan = said.document["queues"]
    assert (sdxl["dead"], wan["waiting"], wan["next"][0]["job_id"]) == (1, 1, waiting)
    assert wan["wait_seconds"] == 135.0
    assert [letter["job_id"] for letter in said.document["dead"]] == [job_id]
    assert [entry["job_id"] for entry in said.document["parked"]] == [job_id]
    assert not said.document["well"]


def test_nothing_of_a_job_steers_the_terminal(
    scene: Scene, environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.pod.status = {
        **BUSY,
        "workers": {NASTY: worker(problem=NASTY, device=NASTY, state=NASTY, failures=[failure(reason=NASTY)])},
    }
    scene.bury("{broken", NASTY)
    said = said_by(capsys, "status")
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out
    assert "[red]markup[/]" in said.out


def test_no_secret_is_told(scene: Scene, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    secret = environment["SUPABASE_SERVICE_KEY"]
    scene.pod.status = {**BUSY, "workers": {"sdxl": worker(problem=f"the key {secret} was refused")}}
    for arguments in ([], ["--json"]):
        assert secret not in said_by(capsys, "status", *arguments).out


def test_what_is_out_of_reach_is_said_and_the_rest_is_shown(
    scene: Scene, environment: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("OURVIDZ_STATUS_URL", f"{nobody},{scene.pod.address}")
    monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "wrong")
    said = said_by(capsys, "status", "--json")
    assert said.code == 1
    assert f"no pod answers at {nobody} (connection refused)" in said.document["needs"]
    assert any("Redis refuses the token" in need for need in said.document["needs"])
    assert len(said.document["pods"][1]["workers"]) == 3


def test_without_a_backend_the_pods_are_shown(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, own_logging: None
) -> None:
    set_environment(monkeypatch, {"OURVIDZ_STATUS_URL": scene.pod.address})
    said = said_by(capsys, "status", "--json")
    assert said.code == 1
    [need] = said.document["needs"]
    assert "the backend is not known (SUPABASE_URL is not set" in need
    assert said.document["queues"] == []
    assert len(said.document["pods"][0]["workers"]) == 3


@pytest.mark.parametrize("arguments", [["--watch", "0"], ["--watch", "soon"], ["--redis-interval", "-1"], ["now"]])
def test_wrong_use_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    said = said_by(capsys, "status", *arguments)
    assert said.code == 2
    assert len(said.err.splitlines()) == 1


def test_it_goes_on_in_a_terminal_until_q(scene: Scene, tmp_path: Path) -> None:
    terminal = Terminal(scene.environment, "--watch", "0.1")
    assert terminal.shows("12/25"), terminal.shown
    scene.pod.status = {**BUSY, "workers": {"sdxl": worker(state="FAILED", problem="the spool is full")}}
    assert terminal.shows("the spool is full"), terminal.shown
    terminal.types(b"q")
    assert terminal.ends() == 1, "by what was shown last"


def test_json_goes_on_a_document_a_line_until_interrupted(scene: Scene) -> None:
    terminal = Terminal(scene.environment, "--json", "--watch", "0.1")
    assert terminal.shows("}\r\n{"), terminal.shown
    assert terminal.ends(signal.SIGINT) == INTERRUPTED
    assert json.loads(terminal.shown.splitlines()[0])["well"]

"""The demo as a newcomer meets it: progress, a table, a page that stays until Ctrl-C."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import httpx

from tests.support.commands import COMMAND_SECONDS, PAYLOADS, RunningCommand, run_command
from tests.support.waiting import wait_until

QUICK = {"OURVIDZ_MODELS": "testcard", "OURVIDZ_SDXL_POLL": "0.1", "OURVIDZ_WAN_POLL": "0.1"}
FILES = [str(PAYLOADS / f"{name}.json") for name in ("sdxl_image_fast", "video_fast.start_end")]


def test_once_ends_with_a_table_a_report_and_what_was_drawn(tmp_path: Path) -> None:
    """Without a file, two prompts of its own: one as a picture, one as a clip."""
    report, kept = tmp_path / "report.json", tmp_path / "kept"
    result = run_command(
        "demo", "--once", "--port", "0", "--report", str(report), "--keep", str(kept), environment=QUICK
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("models: testcard, as OURVIDZ_MODELS says\nresults: http://127.0.0.1:")
    assert "a red lighthouse on a green hill at dusk, two gulls: http://127.0.0.1:" in result.stdout
    assert "video/mp4 480x832, 81 frames" in result.stdout
    assert [job["status"] for job in json.loads(report.read_text())["jobs"]] == ["completed", "completed"]
    assert sorted(file.name for file in kept.iterdir()) == ["01-sdxl_image_fast-1.png", "02-video_fast-1.mp4"]


def test_a_failed_job_is_an_exit_code_and_a_sentence(tmp_path: Path) -> None:
    payload = json.loads(Path(FILES[0]).read_text())
    payload["config"]["num_images"] = 2
    bad = tmp_path / "two_images.json"
    bad.write_text(json.dumps(payload))
    report = tmp_path / "report.json"
    result = run_command("demo", "--once", "--port", "0", "--report", str(report), str(bad), environment=QUICK)
    assert result.returncode == 1
    assert "num_images must be 1, 3 or 6, got 2" in result.stdout
    document = json.loads(report.read_text())
    assert document["ok"] is False
    assert document["jobs"][0]["error"] == {"type": "bad_job", "message": "config.num_images must be 1, 3 or 6, got 2"}


def looks_at(address: str) -> httpx.Response:
    return httpx.get(address, timeout=COMMAND_SECONDS)


def test_the_page_stays_until_ctrl_c() -> None:
    with RunningCommand(["-m", "ourvidz_worker", "demo", "--port", "0", *FILES], QUICK) as demo:
        wait_until(
            lambda: any("press Ctrl-C" in line for line in demo.lines), "the end of the jobs", seconds=COMMAND_SECONDS
        )
        address = next(line for line in demo.lines if line.startswith("results: ")).split()[1]
        assert "<html" in looks_at(address).text
        session = httpx.post(f"{address}/local/session", timeout=COMMAND_SECONDS).json()
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        jobs = httpx.get(f"{address}/local/jobs", headers=bearer, timeout=COMMAND_SECONDS).json()["jobs"]
        assert {job["status"] for job in jobs} == {"completed"}
        for job in jobs:
            assert looks_at(address + job["assets"][0]["url"]).status_code == 200
        assert demo.stop(signal.SIGINT) == 0


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_command("demo", "--once", "--port", str(port), *FILES, environment=QUICK)
    assert result.returncode == 1
    assert str(port) in result.stderr

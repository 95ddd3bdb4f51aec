"""`ourvidz-worker operator` as a process, and dropping what is parked from a shell."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.operate.scene import Scene
from tests.support.commands import RunningCommand
from tests.support.said import said_by, set_environment
from tests.support.waiting import wait_until


def test_the_page_is_served_to_whoever_has_its_address(scene: Scene) -> None:
    scene.submit()
    with RunningCommand(["-m", "ourvidz_worker", "operator", "--port", "0"], scene.environment) as command:
        wait_until(lambda: "pods: " in command.log(), "the address")
        found = re.search(r"(http://127\.0\.0\.1:\d+)/operator#token=(\S+)", command.log())
        assert found, command.log()
        url, token = found.groups()
        page = httpx.get(url, follow_redirects=True)
        assert "operator.js" in page.text
        for shared in ("/static/base.css", "/static/dom.js", "/operator/static/operator.js"):
            assert httpx.get(url + shared).status_code == 200
        assert httpx.get(f"{url}/operator/facts").status_code == 401
        facts = httpx.get(f"{url}/operator/facts", headers={"Authorization": f"Bearer {token}"}).json()
        assert [queue["waiting"] for queue in facts["queues"]] == [1, 0]
        assert len(facts["pods"][0]["workers"]) == 3
        assert command.stop(signal.SIGTERM) == 0


def test_a_taken_port_is_one_line(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_logging: None
) -> None:
    set_environment(monkeypatch, scene.environment)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = said_by(capsys, "operator", "--port", str(port))
    assert said.code == 1
    assert said.err.startswith(f"port {port} on 127.0.0.1 is taken")
    assert len(said.err.splitlines()) == 1


def test_parked_results_are_dropped_one_by_one_or_all(
    scene: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_logging: None,
) -> None:
    set_environment(monkeypatch, scene.environment)
    first, second, third = (scene.submit() for _ in range(3))
    for job_id in (first, second, third):
        scene.park(job_id)
    assert said_by(capsys, "queue", "parked", "drop", "nobody").code == 1
    assert said_by(capsys, "queue", "parked", "drop", first).out == f"{first}: dropped\n"
    unsure = said_by(capsys, "queue", "parked", "drop", "--all")
    assert unsure.code == 2, "nobody can be asked"
    assert {entry.job_id for entry in scene.spool.parked()} == {second, third}
    assert said_by(capsys, "queue", "parked", "drop", "--all", "--yes").code == 0
    assert scene.spool.parked() == []

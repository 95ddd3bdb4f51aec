"""What the doctor says of the place where the language worker listens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import httpx
import pytest
import respx

from ourvidz_worker.backend.health import Finding
from ourvidz_worker.cli.language_check import language_findings
from ourvidz_worker.cli.orchestrate import _shared_knowledge
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import QwenSettings


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        monkeypatch.setenv("OURVIDZ_WORKERS", "wan,qwen")
        monkeypatch.setenv("OURVIDZ_QWEN_PORT", str(door.getsockname()[1]))
        yield door.getsockname()[1]


def door() -> Finding:
    finding, _token = asyncio.run(language_findings(QwenSettings()))
    return finding


@pytest.mark.parametrize(
    ("token", "status", "ok", "says"),
    [
        ("right", 400, True, "answers: tiny-qwen, READY"),
        ("wrong", 401, False, "refuses the token"),
        (None, 401, True, "answers: tiny-qwen, READY"),  # the orchestrator drew one
    ],
)
def test_a_pod_that_runs_already_is_no_problem(
    taken: int, monkeypatch: pytest.MonkeyPatch, token: str | None, status: int, ok: object, says: str
) -> None:
    if token:
        monkeypatch.setenv("OURVIDZ_QWEN_TOKEN", token)
    health = httpx.Response(200, json={"state": "READY", "model": "tiny-qwen"})
    with respx.mock(base_url=f"http://127.0.0.1:{taken}", assert_all_called=False) as worker:
        worker.get("/health").mock(return_value=health)
        worker.post("/enhance").mock(return_value=httpx.Response(status, json={}))
        finding = door()
    assert (finding.ok, says in finding.sentence) == (ok, True)


def test_a_language_worker_alone_has_a_token_that_others_know(
    monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter
) -> None:
    monkeypatch.setenv("OURVIDZ_WORKERS", "qwen")
    monkeypatch.setenv("OURVIDZ_QWEN_HOST", "192.0.2.7")
    respx_mock.get(path="/health").mock(side_effect=httpx.ConnectError("unreachable"))
    _door, token = asyncio.run(language_findings(QwenSettings()))
    assert (token.ok, token.sentence) == (False, "OURVIDZ_QWEN_TOKEN is not set")
    with pytest.raises(ConfigurationError, match="OURVIDZ_QWEN_TOKEN is not set: set it to a long random text"):
        _shared_knowledge(QwenSettings())
    monkeypatch.setenv("OURVIDZ_WORKERS", "wan,qwen")
    assert len(_shared_knowledge(QwenSettings())["OURVIDZ_QWEN_TOKEN"]) > 30


def test_a_stranger_s_port_is_a_problem_with_its_cure(taken: int, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"http://127.0.0.1:{taken}/health").mock(return_value=httpx.Response(404, text="no"))
    finding = door()
    assert not finding.ok
    assert "cannot be listened on" in finding.sentence
    assert finding.cure == "stop what listens there, or set OURVIDZ_QWEN_PORT to another port"


@pytest.mark.usefixtures("taken")
def test_an_address_of_another_machine_is_a_problem_with_its_cure(
    respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURVIDZ_QWEN_HOST", "192.0.2.7")
    respx_mock.get(path="/health").mock(side_effect=httpx.ConnectError("unreachable"))
    finding = door()
    assert not finding.ok
    assert finding.cure == "set OURVIDZ_QWEN_HOST to an address of this machine, or to 0.0.0.0 for all of them"

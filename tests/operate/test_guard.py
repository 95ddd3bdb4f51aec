"""Who may see the facts and act: nobody from another site, under another name, or without the token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ourvidz_worker.operate.desk import Outcome, Papers
from ourvidz_worker.operate.guard import Guard
from ourvidz_worker.operate.lookout import Lookout
from ourvidz_worker.operate.page import OperatorPage

TOKEN = "a-token-that-nobody-guesses"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
DROP = {"action": "drop", "id": "9f2c41d07a3e"}


class Desk:
    def __init__(self) -> None:
        self.done: list[str] = []

    async def look(self) -> Papers:
        return Papers(problems=["the secret is hunter2"])

    async def requeue(self, letter_id: str, *, force: bool) -> Outcome:
        return Outcome(done=False, sentence="not queued: it is over", forcible=not force)

    async def drop(self, letter_id: str) -> Outcome:
        self.done.append(letter_id)
        return Outcome(done=True, sentence="the letter is dropped")

    resend = discard = cancel = drop


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def browser(desk: Desk) -> Iterator[TestClient]:
    lookout = Lookout([], desk, desk_seconds=0)

    async def watch() -> Lookout:
        return lookout

    page = OperatorPage(watch, Guard(TOKEN), struck_out=lambda text: text.replace("hunter2", "[secret]"))
    with TestClient(Starlette(routes=page.routes()), base_url="http://127.0.0.1:8790") as client:
        yield client


def acts(browser: TestClient, body: Any = None, **headers: str) -> Any:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return browser.post("/operator/actions", json=body or DROP, headers={**KNOWN, **told})


def test_the_page_itself_says_nothing_and_needs_no_token(browser: TestClient) -> None:
    answer = browser.get("/operator")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_facts_and_actions_need_the_token(browser: TestClient, desk: Desk, headers: dict[str, str]) -> None:
    assert browser.get("/operator/facts", headers=headers).status_code == 401
    assert browser.post("/operator/actions", json=DROP, headers=headers).status_code == 401
    assert desk.done == []


def test_with_the_token_an_action_is_carried_out(browser: TestClient, desk: Desk) -> None:
    answer = acts(browser, origin="http://127.0.0.1:8790", sec_fetch_site="same-origin")
    assert answer.json() == {"done": True, "sentence": "the letter is dropped", "forcible": False}
    assert desk.done == [DROP["id"]]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"content_type": "text/plain"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8790"},
        {"host": "[::1"},
    ],
)
def test_another_site_may_not_act(browser: TestClient, desk: Desk, headers: dict[str, str]) -> None:
    assert acts(browser, **headers).status_code in (403, 415, 421)
    assert desk.done == []


@pytest.mark.parametrize("path", ["/operator", "/operator/facts"])
def test_a_name_that_points_here_sees_nothing(browser: TestClient, path: str) -> None:
    assert browser.get(path, headers={**KNOWN, "host": "rebound.example"}).status_code == 421


@pytest.mark.parametrize(
    "body",
    [
        {"action": "erase", "id": "x"},
        {"action": "drop"},
        {"action": "drop", "id": ""},
        {"action": "drop", "id": 7},
        {"action": ["drop"], "id": "x"},
        {"action": "requeue", "id": "x", "force": "yes"},
        ["drop"],
        {"action": "drop", "id": "x" * 5000},
    ],
)
def test_what_is_no_action_is_refused_in_a_sentence(browser: TestClient, desk: Desk, body: Any) -> None:
    answer = acts(browser, body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("an action is")
    assert desk.done == []


def test_no_secret_leaves(browser: TestClient) -> None:
    answer = browser.get("/operator/facts", headers=KNOWN)
    assert answer.json()["needs"] == ["the secret is [secret]"]
    assert answer.headers["cache-control"] == "no-store"

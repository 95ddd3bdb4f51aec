"""What Upstash's answers mean for the worker (contract section 1)."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest

from ourvidz_worker.backend import exchange
from ourvidz_worker.backend.queue.commands import End
from ourvidz_worker.backend.queue.redis_queue import QueueMode, RedisQueue
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.contract.envelope import MAX_ELEMENT_BYTES
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, QuotaExceeded, WorkerError
from ourvidz_worker.ports import Begun, Reaping, Renewal
from tests.support.scripted_rest import HANG_UP, NEVER, Scripted, ScriptedRest

TOKEN = "a-very-secret-token"


def call(
    server: ScriptedRest,
    action: Callable[[RedisQueue], Coroutine[Any, Any, Any]],
    *,
    pop_end: End = "right",
    mode: QueueMode = "held",
    timeout_seconds: float = 5,
) -> Any:
    async def run() -> Any:
        queue = RedisQueue(
            UpstashClient(url=server.url, token=TOKEN, timeout_seconds=timeout_seconds),
            queue="sdxl_queue",
            owner="pod-1",
            pop_end=pop_end,
            mode=mode,
        )
        try:
            return await action(queue)
        finally:
            await queue.close()

    return asyncio.run(run())


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.fixture
def server() -> Iterator[ScriptedRest]:
    with ScriptedRest() as scripted:
        yield scripted


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(httpx.Response(401, json={"error": "Unauthorized"}), BackendRefused, id="401"),
        pytest.param(httpx.Response(401, text="who are you"), BackendRefused, id="401 without JSON"),
        pytest.param(
            httpx.Response(400, json={"error": "WRONGPASS invalid or missing auth token"}),
            BackendRefused,
            id="400 WRONGPASS",
        ),
        pytest.param(
            httpx.Response(400, json={"error": "ERR max daily request limit exceeded. Limit: 10000"}),
            QuotaExceeded,
            id="max daily request limit exceeded",
        ),
        pytest.param(
            httpx.Response(400, json={"error": "ERR max requests limit exceeded. Limit: 500000"}),
            QuotaExceeded,
            id="max requests limit exceeded",
        ),
        pytest.param(
            httpx.Response(400, json={"error": "WRONGTYPE Operation against a key"}),
            BackendRefused,
            id="400 failed command",
        ),
        pytest.param(httpx.Response(405, json={"error": "ERR method is not allowed"}), BackendRefused, id="405"),
        pytest.param(
            httpx.Response(400, json={"error": "LOADING Redis is loading the dataset in memory"}),
            BackendUnavailable,
            id="a server that starts",
        ),
        pytest.param(
            httpx.Response(400, json={"error": "OOM command not allowed when used memory > 'maxmemory'."}),
            BackendUnavailable,
            id="a full database",
        ),
        pytest.param(httpx.Response(429, json={"error": "too many requests"}), BackendUnavailable, id="429"),
        pytest.param(httpx.Response(429, text="slow down"), BackendUnavailable, id="429 without JSON"),
        pytest.param(
            httpx.Response(429, json={"error": "ERR max daily request limit exceeded. Limit: 10000"}),
            QuotaExceeded,
            id="429 with the quota's text",
        ),
        pytest.param(httpx.Response(500, json={"error": "ERR Redis does not answer"}), BackendUnavailable, id="500"),
        pytest.param(httpx.Response(502, text="<html>Bad Gateway"), BackendUnavailable, id="502"),
        pytest.param(httpx.Response(503, json={"error": "unavailable"}), BackendUnavailable, id="503"),
        pytest.param(httpx.Response(200, text="<html>"), BackendUnavailable, id="200 with HTML"),
        pytest.param(httpx.Response(200, text='{"resu'), BackendUnavailable, id="200 cut short"),
        pytest.param(httpx.Response(200, json=[1]), BackendUnavailable, id="200 with a list"),
        pytest.param(httpx.Response(200, json={}), BackendUnavailable, id="200 without result"),
        pytest.param(httpx.Response(200, json={"result": "not base64!"}), BackendUnavailable, id="200 not base64"),
    ],
)
def test_an_answer_says_what_to_do_next(server: ScriptedRest, answer: httpx.Response, error: type[WorkerError]) -> None:
    server.answer(answer)
    with pytest.raises(error) as raised:
        call(server, lambda queue: queue.claim())
    assert type(raised.value) is error
    assert len(server.bodies) == 1, "a blind retry of a claim takes a second job"


@pytest.mark.parametrize(
    "failure", [httpx.Response(200, text='{"resu', headers={"Content-Length": "99", "Connection": "close"}), HANG_UP]
)
def test_a_lost_connection_is_not_retried_blindly(server: ScriptedRest, failure: Scripted) -> None:
    """`rest_retries=1` retries transport errors blindly (contract section 1)."""
    server.answer(failure, HANG_UP)
    with pytest.raises(BackendUnavailable, match="did not answer"):
        call(server, lambda queue: queue.claim())
    assert len(server.bodies) == 1


def test_a_command_on_a_kept_connection_that_breaks_is_not_repeated(server: ScriptedRest) -> None:
    server.results([3])
    server.answer(HANG_UP)

    async def poll_and_claim(queue: RedisQueue) -> None:
        await queue.length()
        await queue.claim()

    with pytest.raises(BackendUnavailable, match="did not answer"):
        call(server, poll_and_claim)
    assert len(server.bodies) == 2


def test_the_end_of_an_idle_connection_is_seen_before_the_next_command(
    server: ScriptedRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come while the event loop stands still, as the whole process does where a machine is paused."""
    monkeypatch.setattr(exchange, "IDLE_SECONDS", 0.0)
    server.results([3, 4])

    async def poll_twice(queue: RedisQueue) -> list[int]:
        first = await queue.length()
        server.hang_up()
        return [first, await queue.length()]

    assert call(server, poll_twice) == [3, 4]
    assert len(server.bodies) == 2


def test_a_server_that_is_not_there_did_not_answer(server: ScriptedRest) -> None:
    with ScriptedRest() as gone:
        server.url = gone.url
    with pytest.raises(BackendUnavailable, match="did not answer"):
        call(server, lambda queue: queue.claim())


def test_a_call_ends_in_time_whatever_the_server_does(server: ScriptedRest) -> None:
    """`upstash-redis` has no HTTP timeout by default (contract section 1)."""
    server.answer(NEVER)
    with pytest.raises(BackendUnavailable, match="TimeoutError"):
        call(server, lambda queue: queue.length(), timeout_seconds=0.05)


def test_a_proxy_of_the_environment_is_used(server: ScriptedRest, monkeypatch: pytest.MonkeyPatch) -> None:
    server.results([3])
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.url = "http://redis.example"
    assert call(server, lambda queue: queue.length()) == 3
    assert server.headers[-1]["Host"] == "redis.example"


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_token_that_the_server_echoes_is_not_repeated(server: ScriptedRest, status: int) -> None:
    server.answer(httpx.Response(status, json={"error": f"ERR bad {TOKEN}"}))
    with pytest.raises(WorkerError) as raised:
        call(server, lambda queue: queue.length())
    assert TOKEN not in f"{raised.value} {raised.value!r}"


def test_a_wrong_token_names_the_variable_to_set(server: ScriptedRest) -> None:
    server.answer(httpx.Response(401, json={"error": "Unauthorized"}))
    with pytest.raises(BackendRefused, match="UPSTASH_REDIS_REST_TOKEN"):
        call(server, lambda queue: queue.length())


def test_no_telemetry_is_sent(server: ScriptedRest) -> None:
    server.results([3])
    assert call(server, lambda queue: queue.length()) == 3
    headers = server.headers[-1]
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert not [name for name in headers if "telemetry" in name.lower()]


def test_an_idle_poll_is_one_llen(server: ScriptedRest) -> None:
    """Commands are billed one by one: an idle worker must cost few (contract section 1)."""
    server.results([0])
    call(server, lambda queue: queue.length())
    assert server.commands == [["LLEN", "sdxl_queue"]]


def test_lease_and_claim_are_one_command(server: ScriptedRest) -> None:
    """No claim without a lease confirmed first, and one billed command for both."""
    server.results([[encoded("job"), 7]])
    claim = call(server, lambda queue: queue.claim())
    assert (claim.element, claim.behind) == ("job", 7)
    [[name, _, count, *arguments]] = server.commands
    assert (name, count) == ("EVAL", 4)
    assert arguments[:4] == ["worker:lease:pod-1", "sdxl_queue", "sdxl_queue:held:pod-1", "sdxl_queue:dead"]
    assert arguments[4:8] == ["pod-1", "90", "RIGHT", str(MAX_ELEMENT_BYTES)]


def test_an_oversize_element_is_skipped_for_the_next_one(server: ScriptedRest) -> None:
    answers = [300_000, [encoded("job"), 0]]
    server.results(answers)
    assert call(server, lambda queue: queue.claim()).element == "job"


def test_a_renewal_prolongs_and_never_creates_a_lease(server: ScriptedRest) -> None:
    server.results([None])
    assert not call(server, lambda queue: queue.renew(["job-1"])).alive
    [[name, script, *arguments]] = server.commands
    assert (name, arguments) == ("EVAL", [2, "worker:lease:pod-1", "worker:cancel:job-1", "90"])
    assert "SET" not in script


def test_the_reaper_follows_the_scan_to_its_end(server: ScriptedRest) -> None:
    """SCAN may answer with an empty page and a cursor that goes on."""
    pages = [[encoded("7"), []], [encoded("9"), [encoded("sdxl_queue:held:gone")]], [encoded("0"), []]]
    answers = [*pages, [encoded("job")], 1]
    server.results(answers)
    assert call(server, lambda queue: queue.reap()) == Reaping(1, holding=False)
    sent = server.commands
    assert [str(command[1]) for command in sent[:3]] == ["0", "7", "9"]
    assert sent[0][2:] == ["MATCH", "sdxl_queue:held:*", "COUNT", 1000]
    assert sent[4][2:6] == [3, "sdxl_queue:held:gone", "sdxl_queue", "worker:lease:gone"]


class TestRpopMode:
    """The plain mode for servers without LMOVE: at most once."""

    @pytest.mark.parametrize(("pop_end", "pop", "push"), [("right", "RPOP", "RPUSH"), ("left", "LPOP", "LPUSH")])
    def test_it_uses_plain_commands_only(self, server: ScriptedRest, pop_end: End, pop: str, push: str) -> None:
        server.results([encoded("job"), 0, [encoded(""), None], 1, 1, 1])

        async def life(queue: RedisQueue) -> None:
            claim = await queue.claim()
            assert claim
            assert await queue.begin(claim, "job-1") == Begun(claim, cancelled=False)
            assert await queue.renew(["job-1", "job-2"]) == Renewal(alive=True, cancelled=frozenset({"job-1"}))
            await queue.put_back(claim)
            await queue.requeue(claim, "why", charged=True)
            await queue.bury(claim, "malformed")
            assert await queue.acknowledge(claim) == []
            assert await queue.held() == []

        call(server, life, mode="rpop", pop_end=pop_end)
        again = '{"ourvidz_redelivery":{"attempt":2,"history":["why"],"element":"job"}}'
        *sent, [bury, dead, letter] = server.commands
        assert sent == [
            [pop, "sdxl_queue"],
            ["EXISTS", "worker:cancel:job-1"],
            ["MGET", "worker:cancel:job-1", "worker:cancel:job-2"],
            [push, "sdxl_queue", "job"],
            [push, "sdxl_queue", again],
        ]
        assert (bury, dead, json.loads(letter)["reason"]) == ("LPUSH", "sdxl_queue:dead", "malformed")

    def test_an_element_that_is_not_utf8_can_still_be_handed_back(self, server: ScriptedRest) -> None:
        broken = b64encode(b"caf\xe9").decode()
        server.results((broken, 1))

        async def life(queue: RedisQueue) -> None:
            claim = await queue.claim()
            assert claim
            await queue.put_back(claim)

        call(server, life, mode="rpop")
        assert server.commands[1] == ["RPUSH", "sdxl_queue", "caf\ufffd"]

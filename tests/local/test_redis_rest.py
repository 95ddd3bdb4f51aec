"""Contract section 1: Upstash's REST interface, with Upstash's own client, curl and plain HTTP."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from upstash_redis import Redis
from upstash_redis.errors import UpstashError

from tests.support.embedded import RunningBackend
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module", params=["fakeredis", "redis-server"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with ExitStack() as stack:
        url = stack.enter_context(RedisServer()).url if request.param == "redis-server" else None
        yield stack.enter_context(RunningBackend(tmp_path_factory.mktemp("data"), redis_url=url))


@pytest.fixture
def redis(served: RunningBackend) -> Iterator[Redis]:
    environment = served.environment()
    url, token = environment["UPSTASH_REDIS_REST_URL"], environment["UPSTASH_REDIS_REST_TOKEN"]
    with Redis(url=url, token=token, rest_encoding=None, rest_retries=0, allow_telemetry=False) as client:
        client.flushdb()
        yield client


@pytest.fixture
def rest(served: RunningBackend, redis: Redis) -> Iterator[httpx.Client]:
    environment = served.environment()
    headers = {"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}"}
    with httpx.Client(base_url=environment["UPSTASH_REDIS_REST_URL"], headers=headers, timeout=60) as client:
        yield client


def result(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["result"]


class TestUpstashClient:
    def test_strings_and_generic_commands(self, redis: Redis) -> None:
        assert redis.set("name", "lighthouse", ex=100)
        assert redis.get("name") == "lighthouse"
        assert redis.exists("name", "missing") == 1
        assert 0 < redis.ttl("name") <= 100
        assert not redis.set("name", "other", nx=True)
        assert redis.incrby("count", 5) == 5
        assert redis.mget("name", "missing") == ["lighthouse", None]
        assert redis.type("name") == "string"
        assert redis.delete("name") == 1
        cursor, keys = redis.scan(0, match="cou*")
        assert (cursor, keys) == (0, ["count"])

    def test_lists_as_queues(self, redis: Redis) -> None:
        redis.lpush("wan_queue", "first", "second")
        assert redis.llen("wan_queue") == 2
        assert redis.lmove("wan_queue", "wan_queue:held:pod", "RIGHT", "LEFT") == "first"
        assert redis.rpoplpush("wan_queue", "wan_queue:held:pod") == "second"
        assert redis.lrange("wan_queue:held:pod", 0, -1) == ["second", "first"]
        assert redis.lrem("wan_queue:held:pod", 1, "first") == 1
        assert redis.rpop("wan_queue") is None

    def test_hashes_sets_and_sorted_sets(self, redis: Redis) -> None:
        redis.hset("worker", values={"state": "ready", "jobs": "3"})
        assert redis.hgetall("worker") == {"state": "ready", "jobs": "3"}
        redis.sadd("owners", "a", "b")
        assert sorted(redis.smembers("owners")) == ["a", "b"]
        redis.zadd("due", {"job": 1.5})
        assert redis.zrange("due", 0, -1, withscores=True) == [("job", 1.5)]

    def test_scripts(self, redis: Redis) -> None:
        assert redis.eval("return {KEYS[1], ARGV[1], 7}", ["key"], ["value"]) == ["key", "value", 7]
        digest = redis.script_load("return redis.call('LLEN', KEYS[1])")
        assert redis.evalsha(digest, ["nothing"]) == 0
        assert redis.script_exists(digest) == [True]

    def test_a_missing_script_is_known_by_its_error_code(self, redis: Redis) -> None:
        with pytest.raises(UpstashError, match=r"^NOSCRIPT "):
            redis.evalsha("0" * 40)

    def test_a_script_reports_its_own_error(self, redis: Redis) -> None:
        with pytest.raises(UpstashError, match=r"^FENCED the lease is gone"):
            redis.eval("return redis.error_reply('FENCED the lease is gone')")

    def test_pipeline_and_transaction(self, redis: Redis) -> None:
        pipeline = redis.pipeline()
        pipeline.set("a", "1")
        pipeline.incr("a")
        assert pipeline.exec() == [True, 2]
        transaction = redis.multi()
        transaction.rpush("list", "x", "y")
        transaction.lrange("list", 0, -1)
        assert transaction.exec() == [2, ["x", "y"]]

    def test_base64_is_undone_by_the_client(self, served: RunningBackend, redis: Redis) -> None:
        environment = served.environment()
        url, token = environment["UPSTASH_REDIS_REST_URL"], environment["UPSTASH_REDIS_REST_TOKEN"]
        with Redis(url=url, token=token, rest_encoding="base64") as client:
            assert client.set("greeting", "grüße 🌅")
            assert client.get("greeting") == "grüße 🌅"
            assert client.lpush("list", "ä") == 1
            assert client.lrange("list", 0, -1) == ["ä"]


class TestForms:
    def test_the_raw_body_string_becomes_the_list_element(self, rest: httpx.Client) -> None:
        """Section 1: `POST {URL}/lpush/<queue>` with the job object as body."""
        element = '{"id":"1",  "prompt":"zwei Möwen & ein \\"Turm\\"?"}\n'
        assert result(rest.post("/lpush/wan_queue", content=element.encode())) == 1
        assert result(rest.get("/lrange/wan_queue/0/-1")) == [element]

    def test_the_body_of_the_root_is_a_command(self, rest: httpx.Client) -> None:
        assert result(rest.post("", json=["SET", "key", "value", "EX", 60])) == "OK"
        assert result(rest.post("/", json=["get", "key"])) == "value"

    def test_a_command_in_the_path(self, rest: httpx.Client) -> None:
        assert result(rest.get("/set/a%2Fb/c%20d")) == "OK"
        assert result(rest.get("/get/a%2Fb")) == "c d"
        assert result(rest.post("/EXISTS/a%2Fb")) == 1

    def test_query_parameters_come_after_the_body(self, rest: httpx.Client) -> None:
        """Section 1: a POST body is appended as the last argument, query parameters too."""
        assert result(rest.post("/set/key?EX=100&NX", content=b"body")) == "OK"
        assert result(rest.get("/get/key")) == "body"
        assert 0 < result(rest.get("/ttl/key")) <= 100
        assert result(rest.get("/set/key/other?NX")) is None

    def test_numbers_keep_their_digits(self, rest: httpx.Client) -> None:
        result(rest.post("", json=["SET", "large", 123456789012345678901234567890]))
        assert result(rest.get("/get/large")) == "123456789012345678901234567890"
        result(rest.post("", content=b'["SET", "price", 1.10]'))
        assert result(rest.get("/get/price")) == "1.10"

    def test_base64_makes_every_string_base64_except_ok(self, rest: httpx.Client) -> None:
        """Section 1: `Upstash-Encoding: base64`."""
        encoded = {"Upstash-Encoding": "base64"}
        assert result(rest.post("", json=["SET", "key", "value"], headers=encoded)) == "OK"
        result(rest.post("", json=["RPUSH", "list", "a", "b"]))
        script = 'return {1, "x", {"y", false}}'
        nested = result(rest.post("", json=["EVAL", script, "0"], headers=encoded))
        assert nested == [1, _b64("x"), [_b64("y"), None]]
        assert result(rest.get("/ping", headers=encoded)) == _b64("PONG")
        assert result(rest.get("/lrange/list/0/-1", headers=encoded)) == [_b64("a"), _b64("b")]
        answers = rest.post("/pipeline", json=[["GET", "key"]], headers=encoded).json()
        assert answers == [{"result": _b64("value")}]

    def test_bytes_that_are_no_text_survive(self, rest: httpx.Client) -> None:
        content = bytes(range(256))
        result(rest.post("/set/binary", content=content))
        encoded = result(rest.get("/get/binary", headers={"Upstash-Encoding": "base64"}))
        assert base64.b64decode(encoded) == content
        assert "\ufffd" in result(rest.get("/get/binary"))

    def test_raw_replies_as_redis_sends_them(self, rest: httpx.Client) -> None:
        result(rest.post("", json=["HSET", "hash", "field", "1"]))
        result(rest.post("", json=["ZADD", "zset", "1.5", "member"]))
        assert result(rest.get("/hgetall/hash")) == ["field", "1"]
        assert result(rest.get("/zrange/zset/0/-1/WITHSCORES")) == ["member", "1.5"]
        assert result(rest.get("/scan/0/MATCH/hash")) == ["0", ["hash"]]
        assert result(rest.get("/get/missing")) is None

    def test_a_pipeline_answers_each_command(self, rest: httpx.Client) -> None:
        answers = rest.post("/pipeline", json=[["SET", "s", "x"], ["LPUSH", "s", "1"], ["GET", "s"]])
        assert answers.status_code == 200
        first, second, third = answers.json()
        assert (first, third) == ({"result": "OK"}, {"result": "x"})
        assert second["error"].startswith("WRONGTYPE ")

    def test_a_transaction_answers_each_command(self, rest: httpx.Client) -> None:
        answers = rest.post("/multi-exec", json=[["SET", "s", "x"], ["LPUSH", "s", "1"], ["GET", "s"]]).json()
        assert (answers[0], answers[2]) == ({"result": "OK"}, {"result": "x"})
        assert answers[1]["error"].startswith("WRONGTYPE ")

    def test_a_discarded_transaction_is_400(self, rest: httpx.Client) -> None:
        """Section 1: 400 (…, discarded multi-exec)."""
        answer = rest.post("/multi-exec", json=[["SET", "s", "x"], ["GET"]])
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("EXECABORT ")
        assert result(rest.get("/exists/s")) == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("headers", "query"),
        [
            ({}, ""),
            ({"Authorization": "Bearer wrong"}, ""),
            ({"Authorization": "Basic abc"}, ""),
            ({}, "?_token=wrong"),
        ],
    )
    def test_a_wrong_or_missing_token_is_401(self, served: RunningBackend, headers: dict[str, str], query: str) -> None:
        answer = httpx.get(f"{served.url}/upstash/get/key{query}", headers=headers)
        assert answer.status_code == 401
        assert set(answer.json()) == {"error"}

    def test_the_token_may_be_a_query_parameter(self, served: RunningBackend, redis: Redis) -> None:
        """Section 1: `?_token=` in place of the header; it is no argument of the command."""
        token = served.environment()["UPSTASH_REDIS_REST_TOKEN"]
        answer = httpx.get(f"{served.url}/upstash/set/key/value?_token={token}&EX=9")
        assert answer.json() == {"result": "OK"}

    @pytest.mark.parametrize("method", ["DELETE", "PATCH", "OPTIONS"])
    def test_other_methods_are_405(self, rest: httpx.Client, method: str) -> None:
        answer = rest.request(method, "/get/key")
        assert answer.status_code == 405
        assert set(answer.json()) == {"error"}

    @pytest.mark.parametrize(
        "command",
        [
            ["BLPOP", "q", "0"],
            ["blmove", "a", "b", "LEFT", "RIGHT", "0"],
            ["WATCH", "k"],
            ["SUBSCRIBE", "c"],
            ["MULTI"],
            ["XREAD", "block", "0", "STREAMS", "s", "$"],
        ],
    )
    def test_no_blocking_commands_no_watch(self, rest: httpx.Client, command: list[str]) -> None:
        answer = rest.post("", json=command)
        assert answer.status_code == 400
        assert "not available" in answer.json()["error"]
        assert rest.post("/pipeline", json=[command]).status_code == 400

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"[]", b"[[]]", b"null", b'["GET", null]', b'["GET", {"a": 1}]', b"not json", b"\xff\xfe"]
    )
    @pytest.mark.parametrize("path", ["", "/pipeline", "/multi-exec"])
    def test_syntax_errors_are_400(self, rest: httpx.Client, path: str, body: bytes) -> None:
        answer = rest.post(path, content=body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("ERR ")

    @pytest.mark.parametrize("command", [["NOSUCH", "x"], ["GET"], ["LPUSH", "string", "x"], ["EVAL", "return (", "0"]])
    def test_failed_commands_are_400(self, rest: httpx.Client, command: list[str]) -> None:
        result(rest.get("/set/string/x"))
        answer = rest.post("", json=command)
        assert answer.status_code == 400
        assert answer.json()["error"]

    def test_a_lone_surrogate_does_not_break_the_server(self, rest: httpx.Client) -> None:
        assert result(rest.post("", content=b'["SET", "key", "\\ud800"]')) == "OK"
        assert result(rest.get("/get/key")) == "?"


def test_curl_is_content(served: RunningBackend, redis: Redis, tmp_path: Path) -> None:
    environment = served.environment()
    job = tmp_path / "job.json"
    job.write_text('{"id":"1"}')
    url, bearer = (
        environment["UPSTASH_REDIS_REST_URL"],
        f"Authorization: Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}",
    )
    curl = ["curl", "--silent", "--show-error", "--fail", "--max-time", "10", "-H", bearer]
    pushed = subprocess.run([*curl, f"{url}/lpush/sdxl_queue", "-d", f"@{job}"], check=True, capture_output=True)
    popped = subprocess.run([*curl, f"{url}/rpop/sdxl_queue"], check=True, capture_output=True)
    assert json.loads(pushed.stdout) == {"result": 1}
    assert json.loads(popped.stdout) == {"result": '{"id":"1"}'}


def test_an_unreachable_redis_is_named_at_the_start(tmp_path: Path) -> None:
    running = RunningBackend(tmp_path, redis_url=f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(Exception, match="Redis does not answer"), running:
        pass


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()

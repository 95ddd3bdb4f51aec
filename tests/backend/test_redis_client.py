"""What a Redis server's answers mean for the worker, and what becomes of a connection that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.backend.queue.keys import QueueKeys
from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.backend.redis.client import RedisClient
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, QuotaExceeded, WorkerError
from tests.backend.certificates import certified
from tests.backend.scripted_redis import HANG_UP, NEVER, ScriptedRedis
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import RedisServer

PASSWORD, WRITTEN = "p@ss/w%rd", "p%40ss%2Fw%25rd"
QUEUE = "sdxl_queue"
HELD = QueueKeys(QUEUE).held("a")


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[RedisProxy]:
    with RedisProxy(redis_server.url) as proxy:
        asked(proxy.url, lambda redis: redis.execute(["FLUSHALL"]))
        yield proxy


def asked(url: str, question: Callable[[RedisClient], Awaitable[Any]], *, seconds: float = 10) -> Any:
    async def ask() -> Any:
        redis = RedisClient(url=url, timeout_seconds=seconds)
        try:
            return await question(redis)
        finally:
            await redis.close()

    return asyncio.run(ask())


def queue_of(url: str, owner: str = "a", *, seconds: float = 10) -> RedisQueue:
    return RedisQueue(RedisClient(url=url, timeout_seconds=seconds), queue=QUEUE, owner=owner)


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (b"-WRONGPASS invalid username-password pair or user is disabled.", BackendRefused, "OURVIDZ_QUEUE_URL"),
        (b"-NOAUTH Authentication required.", BackendRefused, "OURVIDZ_QUEUE_URL"),
        (b"-NOPERM this user has no permissions to run the 'llen' command", BackendRefused, "OURVIDZ_QUEUE_URL"),
        (b"-LOADING Redis is loading the dataset in memory", BackendUnavailable, "not ready: LOADING"),
        (b"-READONLY You can't write against a read only replica.", BackendUnavailable, "not ready: READONLY"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.", BackendUnavailable, "not ready: OOM"),
        (b"-MASTERDOWN Link with MASTER is down", BackendUnavailable, "not ready: MASTERDOWN"),
        (b"-MISCONF Redis is configured to save RDB snapshots", BackendUnavailable, "not ready: MISCONF"),
        (b"-BUSY Redis is busy running a script.", BackendUnavailable, "not ready: BUSY"),
        (b"-ERR max number of clients reached", BackendUnavailable, "max number of clients"),
        (b"-ERR max daily request limit exceeded. Limit: 10000", QuotaExceeded, "plan is used up"),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value", BackendRefused, "WRONGTYPE"),
        (b"-MOVED 3999 127.0.0.1:6381", BackendRefused, "MOVED"),
        (HANG_UP, BackendUnavailable, "did not answer"),
        (b"HTTP/1.1 400 Bad Request", BackendUnavailable, "did not answer"),
    ],
)
def test_each_answer_says_what_to_do_next(answer: bytes, error: type[WorkerError], says: str) -> None:
    with ScriptedRedis(answer + b"\r\n" if answer != HANG_UP else answer) as server:
        with pytest.raises(error, match=says):
            asked(server.url, lambda redis: redis.llen(QUEUE))
        assert server.commands == [[b"LLEN", QUEUE.encode()]], "nothing is repeated"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(BackendUnavailable, match="did not answer"):
        asked("redis://127.0.0.1:1", lambda redis: redis.llen(QUEUE))


@pytest.mark.parametrize("answer", [NEVER, b":1", b"$9\r\nhalf"])
def test_an_answer_that_does_not_come_in_time_is_not_read_as_that_of_the_next_command(answer: bytes) -> None:
    async def ask(redis: RedisClient) -> int:
        with pytest.raises(BackendUnavailable, match="did not answer"):
            await redis.llen(QUEUE)
        redis._timeout_seconds = 10
        return await redis.llen(QUEUE)

    with ScriptedRedis(answer, b":7\r\n") as server:
        assert asked(server.url, ask, seconds=0.05) == 7


@pytest.mark.parametrize("user", ["default", ""])
def test_the_password_is_sent_as_it_is_meant_and_told_to_nobody(user: str) -> None:
    echo = f"-ERR invalid password {PASSWORD} or {WRITTEN}\r\n".encode()
    with ScriptedRedis(echo) as server:
        with pytest.raises(WorkerError) as raised:
            asked(f"redis://{user}:{WRITTEN}@127.0.0.1:{server.port}/0", lambda redis: redis.llen(QUEUE))
        assert server.commands[0][-1] == PASSWORD.encode()
    for spelling in (PASSWORD, WRITTEN):
        assert spelling not in f"{raised.value} {raised.value!r}"


def test_a_server_that_wants_a_password_is_a_matter_of_configuration(redis_server: RedisServer) -> None:
    url = redis_server.url.replace("redis://", "redis://nobody:wrong@")
    with pytest.raises(BackendRefused, match=r"set OURVIDZ_QUEUE_URL to redis://user:password@host"):
        asked(url, lambda redis: redis.llen(QUEUE))


def test_a_script_is_sent_once_and_again_where_the_server_forgot_it(proxy: RedisProxy) -> None:
    async def ask(redis: RedisClient) -> list[Any]:
        answers = [await redis.eval("return ARGV[1]", ["k"], [word]) for word in ("1", "\udcff%")]
        await redis.execute(["SCRIPT", "FLUSH"])
        return [*answers, await redis.eval("return {KEYS[1], 7, false}", ["k"], [])]

    assert asked(proxy.url, ask) == ["1", "\udcff%", ["k", 7, None]]


@pytest.mark.parametrize("lost", ["answers_to_lose", "commands_to_lose"])
def test_a_claim_whose_answer_is_lost_is_found_again_or_was_never_made(proxy: RedisProxy, lost: str) -> None:
    async def life() -> tuple[list[str], int]:
        queue = queue_of(proxy.url)
        try:
            await queue.claim()
            await queue._redis.execute(["LPUSH", QUEUE, "\udcff1"])
            setattr(proxy, lost, 1)
            with pytest.raises(BackendUnavailable):
                await queue.claim()
            return [claim.element for claim in await queue.held()], await queue.length()
        finally:
            await queue.close()

    assert asyncio.run(life()) == ((["\udcff1"], 0) if lost == "answers_to_lose" else ([], 1))


def test_connections_that_the_server_ended_meanwhile_are_made_anew(redis_server: RedisServer) -> None:
    async def life() -> None:
        other, queue = RedisClient(url=redis_server.url, timeout_seconds=10), queue_of(redis_server.url)
        await other.execute(["FLUSHALL"])
        await queue.length()
        await other.execute(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        await other.execute(["PING"])  # by its answer the other connection has ended
        assert await queue.length() == 0
        await queue.close()
        await other.close()

    asyncio.run(life())


async def blocked(redis: RedisClient, count: int) -> None:
    async def clients() -> str:
        return str(await redis.execute(["INFO", "clients"]))

    told = ""

    async def look() -> None:
        nonlocal told
        while f"blocked_clients:{count}\r" not in told:
            told = await clients()

    await asyncio.wait_for(look(), 30)


@pytest.mark.parametrize(("push", "end"), [("LPUSH", "right"), ("RPUSH", "left")])
def test_every_waiter_hears_of_a_job_and_one_gets_it(redis_server: RedisServer, push: str, end: Any) -> None:
    async def life() -> None:
        producer = RedisClient(url=redis_server.url, timeout_seconds=10)
        await producer.execute(["FLUSHALL"])
        queues = [
            RedisQueue(
                RedisClient(url=redis_server.url, timeout_seconds=10), queue=QUEUE, owner=f"pod-{number}", pop_end=end
            )
            for number in range(30)
        ]
        waiting = [asyncio.create_task(queue.wait(1000)) for queue in queues]
        await blocked(producer, 30)
        await producer.execute([push, QUEUE, "\udcffjob"])
        await asyncio.gather(*waiting)
        assert await producer.lrange(QUEUE, 0, -1) == ["\udcffjob"]
        claims = await asyncio.gather(*(queue.claim() for queue in queues))
        assert [claim.element for claim in claims if claim] == ["\udcffjob"]
        for queue in queues:
            await queue.close()
        await producer.close()

    asyncio.run(life())


def test_a_wait_that_is_given_up_ends_its_connection(redis_server: RedisServer) -> None:
    """Its answer may come later, and would be that of the next command."""

    async def life() -> None:
        producer, queue = RedisClient(url=redis_server.url, timeout_seconds=10), queue_of(redis_server.url)
        await producer.execute(["FLUSHALL"])
        waiting = asyncio.create_task(queue.wait(1000))
        await blocked(producer, 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await blocked(producer, 0)
        await producer.execute(["LPUSH", QUEUE, "job"])
        assert await queue.length() == 1
        await queue.close()
        await producer.close()

    asyncio.run(life())


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (b"-NOPERM this user has no permissions to run the 'blmove' command\r\n", 1),
        (b"-ERR unknown command 'BLMOVE'\r\n", 1),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", 2),
        (HANG_UP, 2),
    ],
)
def test_where_waiting_is_not_possible_there_is_a_pause(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, tries: int
) -> None:
    """An error must not make a loop without rest of an idle worker."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def ask(redis: RedisClient) -> None:
        monkeypatch.setattr("ourvidz_worker.backend.redis.client.asyncio.sleep", pause)
        await redis.wait_for(QUEUE, "right", 2.0)
        await redis.wait_for(QUEUE, "right", 2.0)
        monkeypatch.undo()

    with ScriptedRedis(answer) as server:
        asked(server.url, ask)
        assert [command[0] for command in server.commands] == [b"BLMOVE"] * tries
    assert pauses == [2.0, 2.0]


@pytest.mark.parametrize("known", [True, False])
def test_tls_is_for_servers_whose_certificate_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    tls, _ = certified("localhost", tmp_path)
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.crt"))
    with ScriptedRedis(b":3\r\n", tls=tls) as server:
        address = f"rediss://localhost:{server.port}"
        if known:
            assert asked(address, lambda redis: redis.llen(QUEUE)) == 3
            return
        with pytest.raises(BackendUnavailable, match=r"(?i)certificate"):
            asked(address, lambda redis: redis.llen(QUEUE))
    assert server.commands == []

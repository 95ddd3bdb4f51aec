"""The fault proxy: what each fault looks like to a client, and what the upstream had of it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ourvidz_worker.backend.queue.redis_queue import RedisQueue
from ourvidz_worker.backend.supabase.store import SupabaseStore
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.errors import BackendUnavailable, QuotaExceeded
from ourvidz_worker.local.server import LocalServer
from ourvidz_worker.ports import Asset
from tests.support.embedded import JOB_TYPES, RunningBackend
from tests.support.fault_proxy import Exchange, Fault, FaultProxy, Rule, RunningProxy, redis_command
from tests.support.stories import story
from tests.support.waiting import eventually

MIB = 1024 * 1024


class Upstream:
    """Remembers each body that it carried out."""

    def __init__(self) -> None:
        self.carried_out: list[bytes] = []
        methods = ["GET", "HEAD", "POST", "PATCH"]
        self.app = Starlette(
            routes=[
                Route("/stream", self.stream, methods=["GET"]),
                Route("/empty", self.empty, methods=["PATCH"]),
                Route("/{rest:path}", self.answer, methods=methods),
            ]
        )

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.carried_out.append(body)
        return JSONResponse({"host": request.headers["host"], "bytes": len(body), "path": request.url.path})

    async def empty(self, request: Request) -> Response:
        self.carried_out.append(await request.body())
        return Response(status_code=204, headers={"Upload-Offset": "7"})

    async def stream(self, _request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b"one ", b"two ", b"three"):
                yield piece

        return StreamingResponse(pieces())


@asynccontextmanager
async def standing(*, seed: int = 0) -> AsyncIterator[tuple[FaultProxy, Upstream, httpx.AsyncClient]]:
    upstream = Upstream()
    server = LocalServer(upstream.app, "127.0.0.1", 0)
    await server.start()
    proxy = FaultProxy(f"http://127.0.0.1:{server.port}", seed=seed)
    await proxy.start()
    try:
        async with httpx.AsyncClient(base_url=proxy.url, timeout=60) as client:
            yield proxy, upstream, client
    finally:
        await proxy.stop()
        await server.stop()


@story
async def test_what_is_not_broken_passes_unchanged() -> None:
    async with standing() as (proxy, upstream, client):
        body = random.Random(1).randbytes(6 * MIB)
        answer = await client.post("/a/b/c/d?x=1", content=body)
        assert answer.json() == {"host": proxy.url.removeprefix("http://"), "bytes": len(body), "path": "/a/b/c/d"}
        assert upstream.carried_out == [body]
        assert (await client.get("/stream")).text == "one two three"
        assert (await client.head("/a/b")).status_code == 200
        assert (await client.patch("/empty", content=b"1234567")).headers["upload-offset"] == "7"
        assert proxy.counts == {"POST /a/b/c": 1, "GET /stream": 1, "HEAD /a/b": 1, "PATCH /empty": 1}
        assert not proxy.injected


@story
async def test_a_chunked_request_arrives_whole() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 100_000

    async with standing() as (_, upstream, client):
        assert (await client.post("/a", content=pieces())).json()["bytes"] == 300_000
        assert upstream.carried_out == [b"x" * 300_000]


@story
async def test_one_connection_carries_many_requests() -> None:
    async with standing() as (proxy, _, client):
        ports: set[int] = set()
        proxy.watch(lambda exchange: ports.add(exchange.client_port))
        for _ in range(5):
            await client.post("/a", content=b"x")
        assert len(ports) == 1


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.RESET])
def test_cut_off_before_execution(fault: Fault) -> None:
    @story
    async def told() -> None:
        async with standing() as (proxy, upstream, client):
            proxy.add(Rule("POST /a", fault, times=1))
            with pytest.raises((httpx.ReadError, httpx.WriteError)):
                await client.post("/a", content=b"x")
            assert upstream.carried_out == []
            assert (await client.post("/a", content=b"y")).is_success
            assert proxy.injected == {("POST /a", fault): 1}

    told()


@story
async def test_a_shut_door_refuses_connections_until_it_opens_again() -> None:
    async with standing() as (proxy, _, client):
        assert (await client.get("/a")).is_success
        await proxy.shut()
        with pytest.raises((httpx.ConnectError, httpx.ReadError)):
            await client.get("/a")
        with pytest.raises(httpx.ConnectError):
            await client.get("/a")
        await proxy.start()
        assert (await client.get("/a")).is_success


@story
async def test_a_dropped_answer_was_carried_out() -> None:
    async with standing() as (proxy, upstream, client):
        proxy.add(Rule("POST /a", Fault.DROP, times=1))
        with pytest.raises(httpx.ReadError):
            await client.post("/a", content=b"x")
        assert upstream.carried_out == [b"x"]


@story
async def test_a_delayed_request_is_carried_out_after_its_client_gave_up() -> None:
    async with standing() as (proxy, upstream, client):
        proxy.add(Rule("POST /a", Fault.DELAY, times=1, seconds=2.0))
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/a", content=b"late", timeout=httpx.Timeout(60, read=0.05))
        assert upstream.carried_out == []
        assert (await client.post("/a", content=b"next")).is_success
        assert upstream.carried_out == [b"next"]
        await eventually(lambda: upstream.carried_out == [b"next", b"late"], "the late execution")


@pytest.mark.parametrize("path", ["/a", "/stream", "/empty"])
def test_a_truncated_answer_is_noticed(path: str) -> None:
    @story
    async def told() -> None:
        async with standing() as (proxy, upstream, client):
            proxy.add(Rule("*", Fault.TRUNCATED, times=1))
            with pytest.raises(httpx.RemoteProtocolError):
                await client.request("PATCH" if path == "/empty" else "GET", path)
            assert len(upstream.carried_out) == (path != "/stream")

    told()


@pytest.mark.parametrize(
    ("fault", "status", "said", "carried_out"),
    [
        (Fault.TOO_MANY, 429, "too many", 0),
        (Fault.QUOTA, 400, "max daily request limit exceeded", 0),
        (Fault.SERVER_ERROR, 500, '{"error"', 0),
        (Fault.BAD_GATEWAY, 502, "<html>", 0),
        (Fault.LOST_GATEWAY, 502, "<html>", 1),
    ],
)
def test_answers_of_its_own(fault: Fault, status: int, said: str, carried_out: int) -> None:
    @story
    async def told() -> None:
        async with standing() as (proxy, upstream, client):
            proxy.add(Rule("POST /a", fault, times=1))
            answer = await client.post("/a", content=b"x")
            assert (answer.status_code, said in answer.text) == (status, True)
            assert len(upstream.carried_out) == carried_out

    told()


@story
async def test_a_rule_meets_its_route_alone_and_so_many_times() -> None:
    async with standing() as (proxy, _, client):
        proxy.add(Rule("* /storage/*", Fault.SERVER_ERROR, times=2))
        statuses = [(await client.get(path)).status_code for path in ("/rows", *["/storage/x"] * 3)]
        assert statuses == [200, 500, 500, 200]
        proxy.add(Rule("*", Fault.SERVER_ERROR))
        proxy.clear()
        assert (await client.get("/rows")).status_code == 200


async def _hits(seed: int, *, disturbed: bool = False) -> list[int]:
    async with standing(seed=seed) as (proxy, _, client):
        proxy.add(Rule("GET /a", Fault.SERVER_ERROR, probability=0.3))
        statuses = []
        for _ in range(40):
            if disturbed:
                await client.get("/b")
            statuses.append((await client.get("/a")).status_code)
        return statuses


@story
async def test_chance_is_by_the_seed_alone() -> None:
    first = await _hits(1)
    assert 0 < first.count(500) < 40
    assert await _hits(1, disturbed=True) == first
    assert await _hits(2) != first


@story
async def test_hooks_see_each_phase_and_can_hold_it_back() -> None:
    async with standing() as (proxy, upstream, client):
        seen: list[tuple[str, int, int | None]] = []
        going_on = asyncio.Event()

        def note(exchange: Exchange) -> None:
            seen.append((exchange.phase, len(upstream.carried_out), exchange.status))

        async def hold(exchange: Exchange) -> None:
            if exchange.phase == "executed":
                await going_on.wait()

        proxy.watch(note)
        proxy.watch(hold)
        asking = asyncio.create_task(client.post("/a", content=b"x"))
        await eventually(lambda: len(seen) == 2, "the execution")
        assert not asking.done()
        going_on.set()
        assert (await asking).is_success
        assert seen == [("arrived", 0, None), ("executed", 1, 200), ("answering", 1, 200)]


@story
async def test_an_upstream_that_is_gone_looks_like_a_reset() -> None:
    async with standing() as (proxy, _, client):
        proxy._upstream = ("127.0.0.1", 1)
        with pytest.raises(httpx.ReadError):
            await client.get("/a")


@pytest.mark.parametrize(
    ("target", "body", "name"),
    [
        ("/upstash", b'["llen","q"]', "LLEN"),
        ("/upstash/lpush/sdxl_queue", b"{}", "LPUSH"),
        ("/upstash/pipeline", b"[]", "pipeline"),
        ("/upstash", b"{broken", "unreadable"),
        ("/upstash", b"[]", "unreadable"),
        ("/upstash", b'["EVAL","return 1","0"]', "EVAL"),
    ],
)
def test_redis_commands_have_names(target: str, body: bytes, name: str) -> None:
    assert redis_command(target, body) == name


def test_in_front_of_the_embedded_backend(tmp_path: Path) -> None:
    """The product's own clients through the proxy: scripts by name, lost answers, quota, and a resumable upload."""
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(random.Random(3).randbytes(13 * MIB))

    async def told(proxy: FaultProxy, environment: dict[str, str]) -> None:
        token = environment["UPSTASH_REDIS_REST_TOKEN"]
        client = UpstashClient(url=f"{proxy.url}/upstash", token=token, timeout_seconds=10)
        queue = RedisQueue(client, queue="wan_queue", owner="me")
        store = SupabaseStore(
            url=proxy.url,
            service_key=environment["SUPABASE_SERVICE_KEY"],
            buckets=parse_catalogue(JOB_TYPES.read_text()).buckets,
        )
        proxy.add(Rule("REDIS claim", Fault.DROP, times=1))
        with pytest.raises(BackendUnavailable):
            await queue.claim()
        [lost] = await queue.held()
        await queue.acknowledge(lost)
        proxy.add(Rule("REDIS LLEN", Fault.QUOTA, times=1))
        with pytest.raises(QuotaExceeded):
            await queue.length()
        await queue.close()
        proxy.add(Rule("PATCH /storage/v1/upload/*", Fault.DROP, times=1))
        proxy.add(Rule("HEAD /storage/v1/upload/*", Fault.RESET, times=1))
        await store.put("video_fast", "u/clip.mp4", Asset(clip, "video/mp4", 13 * MIB, 480, 832, 81, 1))
        await store.close()

    with RunningBackend(tmp_path / "backend") as backend, RunningProxy(backend.url) as running:
        backend.run(backend.backend._redis.execute(["LPUSH", "wan_queue", json.dumps({"id": "j"})]))
        running.run(told(running.proxy, backend.environment()))
        assert backend.backend.file("video_fast", "u/clip.mp4").read_bytes() == clip.read_bytes()
        counts = running.proxy.counts
        assert counts["REDIS claim"] == counts["REDIS acknowledge"] == counts["REDIS LLEN"] == 1
        assert counts["PATCH /storage/v1/upload"] == 3
        assert counts["HEAD /storage/v1/upload"] == 2

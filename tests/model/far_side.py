"""What lies behind the network: Redis with its REST interface, the product's rows and callback, its storage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from fakeredis import FakeRedis, FakeServer
from redis.exceptions import ResponseError

from ourvidz_worker.backend.queue import redis_queue
from ourvidz_worker.backend.queue.keys import QueueKeys
from ourvidz_worker.contract.cancellation import cancel_key
from ourvidz_worker.local.redis_commands import CommandFailed, describe
from ourvidz_worker.local.redis_rest import _answer, _base64
from tests.model.network import Call
from tests.model.world import World

REDIS_URL = "https://redis.model"
PRODUCT_URL = "https://product.model"
CALLBACK_PATH = "/functions/v1/job-callback"
ROWS_PATH = "/rest/v1/jobs"
STORAGE_PATH = "/storage/v1/object/"
QUEUE = "sdxl_queue"
_REDIS_HOST = httpx.URL(REDIS_URL).host
KEYS = QueueKeys(QUEUE)
FINAL = ("completed", "failed")
_JOB_ID = re.compile(rb"job-\d+")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a job lies in Redis: on which list, and as which element."""

    key: str
    element: bytes


class RedisServer:
    """Executes the real scripts; every time it runs one, `changed` of the judge is told."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._server = FakeServer()
        self._redis = FakeRedis(server=self._server, protocol=2)
        self._redis.response_callbacks.clear()
        self._names = {
            getattr(redis_queue, name): name[1:].lower()
            for name in ("_CLAIM", "_RENEW", "_BEGIN", "_ACKNOWLEDGE", "_MOVE")
        }

    def serve(self, call: Call) -> httpx.Response:
        command = [str(argument).encode() for argument in call.body]
        try:
            reply = self.run(*command)
        except ResponseError as error:
            self._world.note(f"Redis refuses {command[0]!r}: {error}", call.process)
            return httpx.Response(400, json=_answer(CommandFailed(describe(error)), _base64))
        name = self.name_of(call)
        if name not in ("llen", "scan", "lrange"):
            self._world.note(f"Redis: {name} {_told(name, command)}-> {_shown(reply)}", call.process)
        return httpx.Response(200, json=_answer(reply, _base64))

    def name_of(self, call: Call) -> str:
        """What a command is called in the timeline: scripts by their names, other requests by their path."""
        if call.url.host != _REDIS_HOST:
            return call.url.path
        name = str(call.body[0]).lower()
        return self._names.get(call.body[1], name) if name == "eval" else name

    def run(self, *command: str | bytes) -> Any:
        return self._redis.execute_command(*command)

    def submit(self, job_id: str, element: str) -> None:
        self._world.note(f"{job_id} is queued")
        self.run("LPUSH", QUEUE, element)

    def cancel(self, job_id: str) -> None:
        self._world.note(f"{job_id} is cancelled")
        self.run("SET", cancel_key(job_id), "1", "EX", "3600")

    def holds(self, owner: str, job_id: str) -> bool:
        return any(job_in(element) == job_id for element in self.run("LRANGE", KEYS.held(owner), "0", "-1"))

    def placements(self) -> Iterator[tuple[str, Placement]]:
        """Where every job lies, dead letters included."""
        lists = self._server.dbs[0]
        for key in [key for key in lists._dict if key.startswith(QUEUE.encode())]:
            for element in lists[key].value:
                yield job_in(element), Placement(key.decode(), element)


def job_in(element: bytes) -> str:
    found = _JOB_ID.search(element)
    assert found, element
    return found[0].decode()


def _told(name: str, command: list[bytes]) -> str:
    if name in ("begin", "acknowledge", "move"):
        jobs = {found.decode() for argument in command[2:] for found in _JOB_ID.findall(argument)}
        return " ".join(sorted(jobs)) + " "
    return ""


def _shown(reply: Any) -> str:
    if isinstance(reply, bytes) and (found := _JOB_ID.search(reply)):
        return found[0].decode()
    if isinstance(reply, list):
        return "[" + ", ".join(_shown(item) for item in reply) + "]"
    return str(reply)


@dataclass(slots=True)
class Row:
    """A job as the product sees it; `linked_at` is when `completed` begins to be accepted, `known` whether ever."""

    status: str = "queued"
    linked_at: float = 0.0
    known: bool = True


class Product:
    """Answers as contract section 5 says, `processing` after an end included."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: dict[str, Row] = {}

    def callback(self, call: Call) -> tuple[httpx.Response, str, str]:
        """The answer, and which job was told to have which status."""
        body = json.loads(call.body)
        job_id, status = body["job_id"], body["status"]
        row = self.rows[job_id]
        if not row.known:
            return _refused("Cannot coerce the result to a single JSON object"), job_id, ""
        if status == "completed" and self._world.now < row.linked_at:
            return _refused(f"{job_id} cannot be completed without an associated image_id"), job_id, ""
        row.status = status
        return httpx.Response(200, json={"success": True}), job_id, status

    def row(self, call: Call) -> httpx.Response:
        row = self.rows[call.url.params["id"].removeprefix("eq.")]
        return httpx.Response(200, json=[{"status": row.status}] if row.known else [])


def _refused(error: str) -> httpx.Response:
    return httpx.Response(400, json={"error": error, "success": False})

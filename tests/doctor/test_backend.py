"""What the doctor finds in a real embedded backend with something wrong in it, and what `--fix` does about it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import respx
from httpx import Response

from ourvidz_worker.backend.health import check_storage
from ourvidz_worker.cli.doctor.queues import examine_queues
from ourvidz_worker.contract.catalogue import Bucket
from ourvidz_worker.errors import BackendRefused, BackendUnavailable
from ourvidz_worker.settings import Settings, read_settings
from tests.support.embedded import RunningBackend
from tests.support.logs import logging_restored
from tests.support.said import Said, said_by, set_environment

QUEUES = ("sdxl_queue", "wan_queue")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as backend:
        yield backend


@pytest.fixture
def pod(backend: RunningBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningBackend]:
    backend.clear()
    folders = {f"OURVIDZ_{name}": str(tmp_path / name.lower()) for name in ("SPOOL", "CACHE", "MODELS_DIR")}
    set_environment(
        monkeypatch, {**backend.environment(), **folders, "OURVIDZ_MODELS": "tiny", "OURVIDZ_PROBE_PORT": "0"}
    )
    with logging_restored():
        yield backend


def redis(backend: RunningBackend, *command: str) -> Any:
    return backend.run(backend.backend._redis.execute(list(command)))


def findings(said: Said, area: str) -> list[str]:
    return [entry["finding"] for entry in said.document["findings"] if entry["area"] == area and not entry["ok"]]


def test_fix_does_what_is_safe_and_says_so(
    pod: RunningBackend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    redis(pod, "LPUSH", "wan_queue:held:gone", '{"id":"a"}')
    redis(pod, "LPUSH", "wan_queue:held:alive", '{"id":"b"}')
    redis(pod, "SET", "worker:lease:alive", "alive", "EX", "60")
    redis(pod, "LPUSH", "sdxl_queue:dead", "{}")
    before = said_by(capsys, "doctor", "--json")
    assert before.code == 0, "workers can run"
    assert findings(before, "aside") == [
        "1 dead letter in sdxl_queue",
        "1 job of wan_queue held by workers that are gone",
    ]
    fixed = said_by(capsys, "doctor", "--json", "--fix")
    assert fixed.document["mended"] == [
        f"made the folder {tmp_path / 'spool'}",
        f"made the folder {tmp_path / 'cache'}",
        "queued 1 job of wan_queue again, held by workers that are gone",
    ]
    assert findings(fixed, "aside") == ["1 dead letter in sdxl_queue"], "nothing is dropped"
    assert (redis(pod, "LLEN", "wan_queue"), redis(pod, "LLEN", "wan_queue:held:alive")) == (1, 1)


def test_the_wrong_key_is_fatal(
    pod: RunningBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", pod.environment()["SUPABASE_ANON_KEY"])
    said = said_by(capsys, "doctor", "--json")
    assert said.code == 1
    assert findings(said, "keys") == ["SUPABASE_SERVICE_KEY has the role anon, and a worker needs service_role"]


class Forbidding:
    """A Redis that refuses one command, or does not answer at all."""

    def __init__(
        self, forbidden: str, refusal: str = "NOPERM this user has no permissions", policy: Any = None
    ) -> None:
        self._forbidden = forbidden
        self._refusal = refusal
        self._policy = policy

    async def llen(self, _key: str) -> int:
        if self._forbidden == "everything":
            raise BackendUnavailable("Redis did not answer")
        return 0

    async def execute(self, command: list[str]) -> Any:
        if command[0] == self._forbidden:
            raise BackendRefused(self._refusal)
        return self._policy if command[0] == "CONFIG" else None

    async def scan(self, _cursor: int, *, match: str, count: int) -> tuple[int, list[str]]:
        return 0, []

    async def close(self) -> None:
        pass


def examined(patch: pytest.MonkeyPatch, redis: Forbidding) -> list[tuple[bool, str, str]]:
    patch.setattr("ourvidz_worker.cli.doctor.queues.open_redis", lambda settings: redis)
    found = asyncio.run(examine_queues(read_settings(Settings), QUEUES))
    return [(item.fatal, item.finding.sentence, item.finding.cure) for item in found if not item.finding.ok]


@pytest.mark.parametrize("command", ["DEL", "LMOVE", "EVAL"])
def test_a_token_that_may_only_read_is_fatal(pod: None, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    [(fatal, sentence, cure)] = examined(monkeypatch, Forbidding(command))
    assert fatal
    assert sentence.startswith(f"Redis refuses {command}")
    assert "UPSTASH_REDIS_REST_TOKEN" in cure


def test_a_server_without_lmove_has_its_own_cure(pod: None, monkeypatch: pytest.MonkeyPatch) -> None:
    [(_, _, cure)] = examined(monkeypatch, Forbidding("LMOVE", "Redis refuses a command: ERR unknown command 'LMOVE'"))
    assert "OURVIDZ_QUEUE_MODE=rpop" in cure
    monkeypatch.setenv("OURVIDZ_QUEUE_MODE", "rpop")
    assert examined(monkeypatch, Forbidding("LMOVE")) == [], "which that mode does without"


@pytest.mark.parametrize("policy", [["maxmemory-policy", "allkeys-lru"], [b"maxmemory-policy", b"allkeys-lru"]])
def test_a_redis_that_may_lose_jobs_is_told_of(pod: None, monkeypatch: pytest.MonkeyPatch, policy: Any) -> None:
    [(fatal, sentence, _)] = examined(monkeypatch, Forbidding("", policy=policy))
    assert (fatal, sentence) == (False, "Redis may evict queued jobs (maxmemory-policy allkeys-lru)")


@pytest.mark.parametrize("policy", [["maxmemory-policy", "noeviction"], "OK", None, [], ["a", 7]])
def test_any_other_answer_is_no_finding(pod: None, monkeypatch: pytest.MonkeyPatch, policy: Any) -> None:
    assert examined(monkeypatch, Forbidding("", policy=policy)) == []


def test_a_redis_out_of_reach_is_found_elsewhere(pod: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined(monkeypatch, Forbidding("everything")) == []


@pytest.mark.parametrize(
    ("allowed", "ok", "says"),
    [
        (None, True, "up to 5 MiB"),
        (["image/*"], True, "up to 5 MiB"),
        (["image/png"], True, "up to 5 MiB, and no thumbnails"),
        (["image/jpeg"], False, "does not take image/png"),
    ],
)
def test_the_types_that_a_bucket_takes(
    respx_mock: respx.MockRouter, allowed: list[str] | None, says: str, *, ok: bool
) -> None:
    bucket = {"id": "sdxl", "file_size_limit": 5 * 2**20, "allowed_mime_types": allowed}
    respx_mock.get("https://x.supabase.co/storage/v1/bucket").mock(return_value=Response(200, json=[bucket]))
    wanted = {"sdxl": Bucket("sdxl", 5 * 2**20, ("image/png", "image/webp"))}
    [found] = asyncio.run(check_storage(url="https://x.supabase.co", service_key="key", buckets=wanted))
    assert (found.ok, says in found.sentence) == (ok, True)

"""What `doctor` learns about the far side: each finding with its cure."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from pathlib import Path

import httpx
import pytest
import respx

from ourvidz_worker.backend.health import (
    Finding,
    check_callback,
    check_queue,
    check_qwen,
    check_report,
    check_storage,
    check_store,
)
from ourvidz_worker.backend.objects.folder import FolderObjects
from ourvidz_worker.backend.objects.places import Folder
from ourvidz_worker.backend.upstash.client import UpstashClient
from ourvidz_worker.contract.catalogue import MIB, Bucket
from tests.support.scripted_rest import HANG_UP, Scripted, ScriptedRest

URL = "https://project.example"
KEY = "a-very-secret-key"
CURE = "check UPSTASH_REDIS_REST_URL"
BUCKETS = {name: Bucket(name, 5 * MIB, ("image/png",)) for name in ("good", "free", "small", "absent")}


async def looked_at(url: str, *queues: str) -> list[Finding]:
    return await check_queue(UpstashClient(url=url, token=KEY, timeout_seconds=10), queues=queues, cure=CURE)


def test_redis_tells_how_many_jobs_wait() -> None:
    with ScriptedRest() as redis:
        redis.results([3, 0])
        [finding] = asyncio.run(looked_at(redis.url, "sdxl_queue", "wan_queue"))
    assert finding.ok
    assert "3 in sdxl_queue, 0 in wan_queue" in finding.sentence


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(401, json={"error": "Unauthorized"}), "refuses the token"),
        (HANG_UP, "did not answer"),
        (httpx.Response(200, json={"result": b64encode(b"OK").decode() + "!"}), "does not speak Upstash"),
    ],
)
def test_redis_that_does_not_work_is_a_finding_with_a_cure(answer: Scripted, says: str) -> None:
    with ScriptedRest() as redis:
        redis.answer(answer)
        [finding] = asyncio.run(looked_at(redis.url, "sdxl_queue"))
    assert not finding.ok
    assert says in finding.sentence
    assert finding.cure == CURE
    assert KEY not in f"{finding}"


def test_every_bucket_is_judged(respx_mock: respx.MockRouter) -> None:
    there = {"good": 5 * MIB, "free": None, "small": MIB}
    listed = [{"id": name, "file_size_limit": limit} for name, limit in there.items()]
    respx_mock.get(f"{URL}/storage/v1/bucket").mock(return_value=httpx.Response(200, json=listed))
    findings = asyncio.run(check_storage(url=URL, service_key=KEY, buckets=BUCKETS))
    good, free, small, absent = findings
    assert (good.ok, free.ok, small.ok, absent.ok) == (True, True, False, False)
    assert "up to 5 MiB" in good.sentence
    assert "raise its file size limit to 5 MiB" in small.cure
    assert ("absent does not exist" in absent.sentence, "limit of 5 MiB" in absent.cure) == (True, True)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, json={"statusCode": "403", "error": "Unauthorized"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"unexpected": 1}),
        httpx.ConnectError("refused"),
    ],
)
def test_storage_that_does_not_work_is_one_finding(
    respx_mock: respx.MockRouter, answer: httpx.Response | Exception
) -> None:
    respx_mock.get(f"{URL}/storage/v1/bucket").mock(side_effect=[answer])
    [finding] = asyncio.run(check_storage(url=URL, service_key=KEY, buckets=BUCKETS))
    assert not finding.ok
    assert "SUPABASE_URL" in finding.cure
    assert KEY not in f"{finding}"


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (httpx.Response(200, text="ok"), True),
        (httpx.Response(204), True),
        (httpx.Response(404, json={"message": "Requested function was not found"}), False),
        (httpx.ConnectError("refused"), False),
    ],
)
def test_the_callback_function_is_looked_for_without_calling_it(
    respx_mock: respx.MockRouter, answer: httpx.Response | Exception, *, ok: bool
) -> None:
    respx_mock.options(f"{URL}/functions/v1/job-callback").mock(side_effect=[answer])
    finding = asyncio.run(check_callback(url=URL, service_key=KEY))
    assert (finding.ok, finding.cure == "") == (ok, ok)


@pytest.mark.parametrize(
    ("health", "answer", "ok", "says"),
    [
        ({"state": "READY", "model": "tiny-qwen"}, 400, True, "answers: tiny-qwen, READY"),
        ({"state": "READY", "model": "tiny-qwen"}, 401, False, "refuses the token"),
        ({"state": "READY"}, 400, False, "is no qwen worker"),
        (["READY"], 400, False, "is no qwen worker"),
    ],
)
def test_a_qwen_worker_is_asked_nothing(
    respx_mock: respx.MockRouter, health: object, answer: int, ok: object, says: str
) -> None:
    respx_mock.get(f"{URL}/health").mock(return_value=httpx.Response(200, json=health))
    asked = respx_mock.post(f"{URL}/enhance").mock(return_value=httpx.Response(answer, json={}))
    finding = asyncio.run(check_qwen(url=URL, token=KEY))
    assert (finding.ok, says in finding.sentence, bool(finding.cure)) == (ok, True, not ok)
    assert asked.calls.last.request.content == b"{}"
    assert KEY not in f"{finding}"


def test_a_qwen_worker_that_does_not_answer_is_a_finding(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{URL}/health").mock(side_effect=httpx.ConnectError("refused"))
    finding = asyncio.run(check_qwen(url=URL, token=KEY))
    assert not finding.ok
    assert "no qwen worker answers" in finding.sentence
    assert "OURVIDZ_ENHANCER_URL" in finding.cure


@pytest.mark.parametrize(
    ("answer", "ok", "says"),
    [
        (httpx.Response(204), True, "answers"),
        (httpx.Response(405), True, "answers"),
        (httpx.Response(401), True, "answers"),
        (httpx.Response(302, headers={"Location": "/elsewhere"}), False, "HTTP 302"),
        (httpx.Response(502), False, "HTTP 502"),
        (HANG_UP, False, "does not answer"),
    ],
)
def test_a_receiver_of_reports_answers_or_does_not(answer: Scripted, says: str, *, ok: bool) -> None:
    with ScriptedRest() as far:
        far.answer(answer)
        finding = asyncio.run(check_report(f"{far.url}/hook"))
    assert finding.ok is ok
    assert says in finding.sentence
    assert bool(finding.cure) is not ok


def test_a_folder_takes_files_or_says_what_to_do(tmp_path: Path) -> None:
    finding = asyncio.run(check_store(FolderObjects(tmp_path), Folder(tmp_path)))
    assert (finding.ok, finding.sentence) == (True, f"{tmp_path} takes files")
    assert list(tmp_path.iterdir()) == []
    absent = tmp_path / "absent"
    finding = asyncio.run(check_store(FolderObjects(absent), Folder(absent)))
    assert finding.sentence == f"the store's folder {absent} does not exist"
    assert finding.cure == "create it, or mount the volume that it belongs to"

"""What `submit` says where the product refuses, is out of reach or is none, and when it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx

from ourvidz_worker.cli.main import main
from ourvidz_worker.cli.submit import command

URL = "https://product.test"
SIGNED_IN = httpx.Response(
    200,
    json={
        "access_token": "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln",
        "refresh_token": "r",
        "token_type": "bearer",
        "expires_in": 3600,
        "user": {
            "id": "u",
            "aud": "authenticated",
            "app_metadata": {},
            "user_metadata": {},
            "created_at": "2025-07-01T00:00:00Z",
        },
    },
)
WRONG_PASSWORD = httpx.Response(400, json={"error_code": "invalid_credentials", "msg": "Invalid login credentials"})
QUEUED = httpx.Response(200, json={"success": True, "job": {"id": "a-job", "status": "queued"}})


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", URL)
    for name in ("SUPABASE_ANON_KEY", "OURVIDZ_USER_EMAIL", "OURVIDZ_USER_PASSWORD"):
        monkeypatch.setenv(name, "the-secret")


@pytest.fixture
def server() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=URL, assert_all_called=False) as mocked:
        yield mocked


def submit(
    server: respx.MockRouter, *, signing_in: httpx.Response | Exception, queueing: httpx.Response, job_type: str
) -> int:
    server.post("/auth/v1/token").mock(side_effect=[signing_in])
    server.post("/functions/v1/queue-job").mock(return_value=queueing)
    return main(["submit", job_type, "--prompt", "a pier"])


@pytest.mark.parametrize(
    ("signing_in", "queueing", "said"),
    [
        (
            WRONG_PASSWORD,
            QUEUED,
            "nobody could be signed in (Invalid login credentials): check OURVIDZ_USER_EMAIL, OURVIDZ_USER_PASSWORD",
        ),
        (httpx.ConnectError("refused"), QUEUED, "SUPABASE_URL cannot be reached: refused"),
        (
            SIGNED_IN,
            httpx.Response(404, json={"code": "NOT_FOUND", "message": "Requested function was not found"}),
            "the job was not queued: queue-job answered HTTP 404 without a reason: check that it is deployed",
        ),
        (
            SIGNED_IN,
            httpx.Response(200, text="<html>"),
            "the job was not queued: queue-job answered what is no JSON object: check SUPABASE_URL",
        ),
        (SIGNED_IN, httpx.Response(200, json={}), "the job was not queued: the answer of queue-job holds no job"),
    ],
)
def test_each_refusal_is_a_sentence(
    server: respx.MockRouter,
    capsys: pytest.CaptureFixture[str],
    signing_in: httpx.Response | Exception,
    queueing: httpx.Response,
    said: str,
) -> None:
    assert submit(server, signing_in=signing_in, queueing=queueing, job_type="video_fast") == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(said)
    assert "the-secret" not in errors


def test_an_unknown_type_is_told_with_the_known_ones(
    server: respx.MockRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = httpx.Response(400, json={"success": False, "error": "Invalid job type: video.jsn"})
    assert submit(server, signing_in=SIGNED_IN, queueing=refusal, job_type="video.jsn") == 1
    errors = capsys.readouterr().err
    assert "Invalid job type: video.jsn; known are sdxl_image_fast, " in errors
    assert errors.endswith(", and files that end in .json\n")


def test_an_address_that_is_none_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPABASE_URL", "product.test")
    assert main(["submit", "video_fast", "--prompt", "a pier"]) == 1
    assert capsys.readouterr().err == "SUPABASE_URL or SUPABASE_ANON_KEY is wrong: Invalid URL\n"


def test_a_prompt_without_words_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "video_fast", "--prompt", "  "]) == 2
    assert capsys.readouterr().err == "--prompt is missing: say what a job of type video_fast shall show\n"


@pytest.mark.parametrize(
    ("metadata", "author"),
    [
        ({"fallback_reason": "the qwen worker refuses the token"}, "because the qwen worker refuses the token"),
        ({"problem": "the language model declined"}, "because the language model declined"),
        ({}, "because no language model answered"),
    ],
)
def test_a_prompt_that_no_model_wrote_is_shown_with_the_reason(
    server: respx.MockRouter, capsys: pytest.CaptureFixture[str], metadata: dict[str, str], author: str
) -> None:
    server.post("/auth/v1/token").mock(return_value=SIGNED_IN)
    metadata = {"model_used": "none", "template_name": "none", "fallback_level": "3", **metadata}
    enhanced = {"enhanced_prompt": "a pier", "enhancement_metadata": metadata}
    server.post("/functions/v1/enhance-prompt").mock(return_value=httpx.Response(200, json=enhanced))
    server.post("/functions/v1/queue-job").mock(return_value=QUEUED)
    assert main(["submit", "video_fast", "--prompt", "a pier", "--enhance"]) == 0
    assert f"by:       none (none), {author}\n" in capsys.readouterr().out


def test_an_interruption_tells_what_was_queued(
    server: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_wait", interrupted)
    server.post("/auth/v1/token").mock(return_value=SIGNED_IN)
    server.post("/functions/v1/queue-job").mock(return_value=QUEUED)
    assert main(["submit", "video_fast", "--prompt", "a pier", "--wait"]) == 130
    output, errors = capsys.readouterr()
    assert output == "a-job  queued\n"
    assert errors == "interrupted; what was queued goes on, and `ourvidz-worker queue cancel JOB_ID` stops it\n"

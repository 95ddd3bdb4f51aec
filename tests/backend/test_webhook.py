"""Reports to a plain receiver: signed, repeated where that may help, and told to nobody else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.backend.webhook.no_rows import NoRows
from ourvidz_worker.backend.webhook.reporter import WebhookReporter
from ourvidz_worker.contract.callback import PROFILES, Callback, CallbackProfile, ReportedAsset, callback_body
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkerError
from tests.backend.pauses import Pauses
from tests.support.scripted_rest import HANG_UP, NEVER, Scripted, ScriptedRest

SECRET = "a-very-secret-callback-secret"
COMPLETED = Callback(
    "job-1", "completed", (ReportedAsset("user/job-1_0.png", "image", 1024, 1024, 7),), metadata={"note": "caf\u00e9"}
)
OK = httpx.Response(204)


def report(
    far: ScriptedRest,
    callback: Callback = COMPLETED,
    *,
    pauses: Pauses | None = None,
    profile: CallbackProfile = "2025-07",
    patience: CallbackPatience | None = None,
    timeout_seconds: float = 30.0,
) -> None:
    async def run() -> None:
        reporter = WebhookReporter(
            url=f"{far.url}/hooks/a",
            secret=SECRET,
            profile=profile,
            patience=patience,
            timeout_seconds=timeout_seconds,
            sleep=pauses or Pauses(),
        )
        try:
            await reporter.report(callback)
        finally:
            await reporter.close()

    asyncio.run(run())


@pytest.fixture
def far() -> Iterator[ScriptedRest]:
    with ScriptedRest() as scripted:
        yield scripted
        assert set(scripted.paths) <= {"/hooks/a"}, "no redirect is followed"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_body_is_that_of_the_profile_and_the_signature_that_of_its_bytes(
    far: ScriptedRest, profile: CallbackProfile
) -> None:
    far.answer(OK)
    report(far, profile=profile)
    body, headers = far.bodies[-1], far.headers[-1]
    assert body == callback_body(COMPLETED, profile)
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Callback-Signature"] == f"sha256={digest}"
    assert headers["Content-Type"] == "application/json"
    assert not {"apikey", "authorization"} & set(headers)


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), httpx.Response(202), OK])
def test_any_answer_of_success_is_one(far: ScriptedRest, answer: httpx.Response) -> None:
    far.answer(answer)
    report(far)
    assert len(far.bodies) == 1


@pytest.mark.parametrize("answer", [*(httpx.Response(status) for status in (408, 425, 429, 500, 502, 503)), HANG_UP])
def test_what_may_pass_is_repeated_for_minutes(far: ScriptedRest, answer: Scripted) -> None:
    far.answer(answer, answer, OK)
    report(far)
    assert len(far.bodies) == 3
    far.answer(answer)
    pauses = Pauses()
    far._script[:] = [answer]
    with pytest.raises(BackendUnavailable):
        report(far, pauses=pauses)
    assert 285 <= pauses.total <= 315


def test_an_answer_that_never_comes_is_given_up(far: ScriptedRest) -> None:
    far.answer(NEVER)
    with pytest.raises(BackendUnavailable, match="did not answer"):
        report(far, patience=CallbackPatience(unavailable=0.0), timeout_seconds=0.05)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("7", 7, 7),
        ("3600", 60, 60),
        ("-5", 0, 2),
        ("soon", 0, 2),
        ("9" * 400, 60, 60),
        ("in 20 s", 15, 20),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0, 2),
    ],
)
def test_the_pause_that_is_asked_for_is_made_within_bounds(
    far: ScriptedRest, asked: str, least: float, most: float
) -> None:
    if asked == "in 20 s":
        asked = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    far.answer(httpx.Response(503, headers={"Retry-After": asked}), OK)
    pauses = Pauses()
    report(far, pauses=pauses)
    assert least <= pauses.total <= most


@pytest.mark.parametrize("status", [400, 404, 405, 410, 413, 422])
def test_what_is_refused_for_good_is_not_repeated(far: ScriptedRest, status: int) -> None:
    far.answer(httpx.Response(status, text="no such job"))
    with pytest.raises(BackendRefused, match=f"{status} no such job"):
        report(far)
    assert len(far.bodies) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(401, text="bad signature"), r"401 \(bad signature\).*JOB_CALLBACK_SECRET"),
        (httpx.Response(403), r"403 \(no reason given\).*JOB_CALLBACK_SECRET"),
        (httpx.Response(302, headers={"Location": "/elsewhere"}), "302: set OURVIDZ_REPORT_URL"),
    ],
)
def test_a_wrong_configuration_is_repeated_for_seconds_only(
    far: ScriptedRest, answer: httpx.Response, says: str
) -> None:
    far.answer(answer)
    with pytest.raises(ConfigurationError, match=says):
        report(far)
    assert 2 < len(far.bodies) < 12


def test_a_start_is_given_up_within_seconds(far: ScriptedRest) -> None:
    far.answer(httpx.Response(503))
    pauses = Pauses()
    with pytest.raises(BackendUnavailable):
        report(far, Callback("job-1", "processing"), pauses=pauses)
    assert pauses.total <= 12
    assert json.loads(far.bodies[-1])["status"] == "processing"


@pytest.mark.parametrize("status", [400, 401])
def test_the_secret_is_in_no_error(far: ScriptedRest, status: int) -> None:
    far.answer(httpx.Response(status, text=f"your secret is {SECRET}"))
    with pytest.raises(WorkerError) as raised:
        report(far)
    assert SECRET not in f"{raised.value!r}"


def test_nobody_keeps_rows_to_look_at() -> None:
    assert asyncio.run(NoRows().status("job-1")) is None

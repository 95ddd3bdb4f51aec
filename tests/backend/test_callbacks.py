"""The table of contract section 5, row by row."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.backend.supabase.callbacks import CallbackReporter
from ourvidz_worker.contract.callback import Callback, CallbackProfile, ReportedAsset
from ourvidz_worker.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    RowMissing,
    RowNotLinked,
    WorkerError,
)
from tests.backend.pauses import Pauses
from tests.support.scripted_rest import CUT_SHORT, HANG_UP, NEVER, Scripted, ScriptedRest

URL = "https://project.example"
ENDPOINT = "/functions/v1/job-callback"
KEY = "a-very-secret-service-key"
SECRET = "a-very-secret-callback-secret"

COMPLETED = Callback(
    "job-1", "completed", (ReportedAsset("user/job-1_0.png", "image", 1024, 1024, 7),), metadata={"seed": 7}
)
PROCESSING = Callback("job-1", "processing")
FAILED = Callback("job-1", "failed", error_message="the prompt is empty")

OK = httpx.Response(200, json={"success": True})
NOT_LINKED = "Image job cannot be completed without an associated image_id"
NO_ROW = "Cannot coerce the result to a single JSON object"


def refused(message: str, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": message, "success": False})


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
        reporter = CallbackReporter(
            url=f"{far.url}/",
            service_key=KEY,
            profile=profile,
            secret=SECRET,
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
        assert set(scripted.paths) <= {ENDPOINT}


def test_both_headers_carry_the_service_key(far: ScriptedRest) -> None:
    far.answer(OK)
    report(far)
    headers = far.headers[-1]
    assert (headers["apikey"], headers["Authorization"]) == (KEY, f"Bearer {KEY}")
    assert headers["Content-Type"] == "application/json"


def test_profile_2025_07_sends_keys_and_no_signature(far: ScriptedRest) -> None:
    """`assets` are strings: an object in the list fails the call."""
    far.answer(OK)
    report(far)
    assert json.loads(far.bodies[-1])["assets"] == ["user/job-1_0.png"]
    assert "X-Callback-Signature" not in far.headers[-1]


def test_profile_2026_02_signs_the_exact_bytes_it_sends(far: ScriptedRest) -> None:
    far.answer(OK)
    report(far, profile="2026-02")
    body = far.bodies[-1]
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert far.headers[-1]["X-Callback-Signature"] == f"sha256={digest}"
    assert json.loads(body)["assets"][0]["url"] == "user/job-1_0.png"


@pytest.mark.parametrize("secret", [None, ""])
def test_profile_2026_02_without_a_secret_is_a_configuration_error(secret: str | None) -> None:
    with pytest.raises(ConfigurationError, match="JOB_CALLBACK_SECRET"):
        CallbackReporter(url=URL, service_key=KEY, profile="2026-02", secret=secret)


@pytest.mark.parametrize("row", ["image_id", "video_id"])
def test_completed_before_the_row_is_linked_is_repeated_until_it_is(far: ScriptedRest, row: str) -> None:
    """A real race: jobs are queued first."""
    message = f"Job cannot be completed without an associated {row}"
    far.answer(*[refused(message)] * 8 + [OK])
    pauses = Pauses()
    report(far, pauses=pauses)
    assert len(far.bodies) == 9
    assert pauses.total > 15, "a missing row would have been given up by now"


def test_a_row_that_is_never_linked_is_given_up_after_minutes(far: ScriptedRest) -> None:
    far.answer(refused(NOT_LINKED))
    pauses = Pauses()
    with pytest.raises(RowNotLinked, match="image_id"):
        report(far, pauses=pauses)
    assert 285 <= pauses.total <= 315


@pytest.mark.parametrize(
    "answer",
    [
        refused(NO_ROW),
        refused("JSON object requested, multiple (or no) rows returned"),
        refused("Job not found", 404),
        pytest.param(httpx.Response(404, text="Job not found"), id="the later profile's plain text"),
    ],
)
def test_a_missing_job_row_is_given_up_soon(far: ScriptedRest, answer: httpx.Response) -> None:
    far.answer(answer)
    pauses = Pauses()
    with pytest.raises(RowMissing):
        report(far, pauses=pauses)
    assert 15 <= pauses.total <= 18


def test_a_job_row_that_appears_late_is_reported(far: ScriptedRest) -> None:
    far.answer(*[refused(NO_ROW), refused(NO_ROW), OK])
    report(far)
    assert len(far.bodies) == 3


PASSING: list[Any] = [
    *(pytest.param(httpx.Response(status, text="upstream"), id=str(status)) for status in (500, 503, 504, 546)),
    pytest.param(httpx.Response(429, json={"message": "slow down"}), id="429"),
    pytest.param(httpx.Response(502, text="<html>"), id="502"),
    pytest.param(httpx.Response(400, text="<html>Bad Request"), id="an HTML page"),
    pytest.param(
        httpx.Response(400, json={"error": "relay"}, headers={"x-relay-error": "true"}),
        id="x-relay-error: true",
    ),
    pytest.param(
        httpx.Response(401, json={"error": "relay"}, headers={"x-relay-error": "true"}),
        id="401 with x-relay-error: true",
    ),
    pytest.param(httpx.Response(200, text='{"success": tr'), id="200 cut short"),
    pytest.param(httpx.Response(200, text="<html>"), id="200 with HTML"),
    pytest.param(HANG_UP, id="no answer"),
    pytest.param(CUT_SHORT, id="connection cut"),
]


@pytest.mark.parametrize("answer", PASSING)
def test_a_failure_of_the_gateway_is_repeated(far: ScriptedRest, answer: Scripted) -> None:
    """`completed` twice is 200 with the same result: it may be resent freely."""
    far.answer(*[answer, answer, OK])
    report(far)
    assert len(far.bodies) == 3


@pytest.mark.parametrize("answer", PASSING)
def test_a_gateway_that_stays_away_is_given_up_after_minutes(far: ScriptedRest, answer: Scripted) -> None:
    far.answer(answer)
    pauses = Pauses()
    with pytest.raises(BackendUnavailable):
        report(far, pauses=pauses)
    assert 285 <= pauses.total <= 315


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        pytest.param(httpx.Response(401, json={"message": "Invalid JWT"}), "SUPABASE_SERVICE_KEY", id="401"),
        pytest.param(httpx.Response(403, text="no"), "SUPABASE_SERVICE_KEY", id="403"),
        pytest.param(
            httpx.Response(404, json={"message": "Requested function was not found"}),
            "deploy the function",
            id="404",
        ),
        pytest.param(httpx.Response(404, text="<html>"), "deploy the function", id="404 with HTML"),
    ],
)
def test_a_wrong_configuration_is_repeated_for_seconds_only_and_says_what_to_set(
    far: ScriptedRest, answer: httpx.Response, names: str
) -> None:
    """Trap: "401/404: configuration", also for the moment in which a function is deployed anew."""
    far.answer(answer)
    with pytest.raises(ConfigurationError, match=names):
        report(far)
    assert 2 < len(far.bodies) < 12


def test_a_refused_signature_names_the_secret_to_set(far: ScriptedRest) -> None:
    far.answer(httpx.Response(401, json={"error": "Invalid signature"}))
    with pytest.raises(ConfigurationError, match=r"Invalid signature.*JOB_CALLBACK_SECRET"):
        report(far, profile="2026-02")


@pytest.mark.parametrize(
    "answer",
    [
        refused("Invalid status: done"),
        pytest.param(httpx.Response(400, text="Invalid status: done"), id="the later profile's plain text"),
        httpx.Response(200, json={"success": False, "error": "Invalid status: done"}),
    ],
)
def test_any_other_failure_is_final_and_told_in_the_products_words(far: ScriptedRest, answer: httpx.Response) -> None:
    """Any failure at all is 400; the worker decides by the message."""
    far.answer(answer)
    with pytest.raises(BackendRefused, match="Invalid status: done"):
        report(far)
    assert len(far.bodies) == 1


def test_a_200_that_says_not_linked_is_repeated_too(far: ScriptedRest) -> None:
    far.answer(*[httpx.Response(200, json={"success": False, "error": NOT_LINKED}), OK])
    report(far)
    assert len(far.bodies) == 2


def test_an_outage_does_not_use_up_the_patience_for_a_missing_row(far: ScriptedRest) -> None:
    far.answer(*[httpx.Response(503)] * 9 + [refused(NO_ROW)] * 4 + [OK])
    report(far)
    assert len(far.bodies) == 14


@pytest.mark.parametrize("answer", [httpx.Response(503), refused(NO_ROW), HANG_UP])
def test_processing_is_given_up_within_seconds(far: ScriptedRest, answer: Scripted) -> None:
    """`processing` after `completed` is 200 and the job goes back to processing."""
    far.answer(answer)
    pauses = Pauses()
    with pytest.raises((BackendUnavailable, RowMissing)):
        report(far, PROCESSING, pauses=pauses)
    assert pauses.total <= 12


def test_a_processing_under_way_is_not_cut_short_and_not_repeated(far: ScriptedRest) -> None:
    """The function might carry out what was cut short, after the final status."""
    far.answer(NEVER)
    with pytest.raises(BackendUnavailable, match="did not answer"):
        report(far, PROCESSING, patience=CallbackPatience(processing=0.0), timeout_seconds=0.05)
    assert len(far.bodies) == 1


def test_failed_is_repeated_like_completed(far: ScriptedRest) -> None:
    far.answer(*[httpx.Response(503)] * 6 + [OK])
    report(far, FAILED)
    assert json.loads(far.bodies[-1])["error_message"] == "the prompt is empty"


@pytest.mark.parametrize("status", [200, 400, 401, 404])
def test_secrets_that_the_far_side_echoes_are_not_repeated(far: ScriptedRest, status: int) -> None:
    far.answer(refused(f"wrong key {KEY} or secret {SECRET}", status))
    with pytest.raises(WorkerError) as raised:
        report(far, profile="2026-02")
    assert KEY not in f"{raised.value!r}"
    assert SECRET not in f"{raised.value!r}"


def test_secrets_are_not_in_the_reporters_representation() -> None:
    reporter = CallbackReporter(url=URL, service_key=KEY, profile="2026-02", secret=SECRET)
    assert KEY not in repr(reporter)
    assert SECRET not in repr(reporter)
    asyncio.run(reporter.close())

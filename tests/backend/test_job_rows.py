"""What the jobs table's answers mean."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import respx

from ourvidz_worker.backend.supabase.job_rows import SupabaseJobRows
from ourvidz_worker.errors import BackendUnavailable, ConfigurationError

# Whatever transport stands under a client.
pytestmark = pytest.mark.respx(using="httpx", assert_all_called=False)

URL = "https://project.example"
ENDPOINT = f"{URL}/rest/v1/jobs"
KEY = "a-very-secret-service-key"
PAGE = "<html><body>502 Bad Gateway</body></html>"


def status(job_id: str = "job-1") -> str | None:
    async def ask() -> str | None:
        rows = SupabaseJobRows(url=f"{URL}/", service_key=KEY)
        try:
            return await rows.status(job_id)
        finally:
            await rows.close()

    return asyncio.run(ask())


def refusal(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "message": message, "details": None, "hint": None})


def test_the_status_of_a_row_is_asked_for_with_the_service_key(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(ENDPOINT).mock(return_value=httpx.Response(200, json=[{"status": "completed"}]))
    assert status() == "completed"
    request: httpx.Request = respx_mock.calls.last.request
    assert dict(request.url.params) == {"id": "eq.job-1", "select": "status"}
    assert (request.headers["apikey"], request.headers["Authorization"]) == (KEY, f"Bearer {KEY}")


def test_an_id_cannot_become_another_filter(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(ENDPOINT).mock(return_value=httpx.Response(200, json=[]))
    assert status("1&status=eq.failed#") is None
    request: httpx.Request = respx_mock.calls.last.request
    assert dict(request.url.params) == {"id": "eq.1&status=eq.failed#", "select": "status"}


def test_no_row_is_none(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(ENDPOINT).mock(return_value=httpx.Response(200, json=[]))
    assert status() is None


def test_an_id_that_the_column_cannot_hold_has_no_row(respx_mock: respx.MockRouter) -> None:
    answer = refusal(400, "22P02", 'invalid input syntax for type uuid: "job-1"')
    respx_mock.get(ENDPOINT).mock(return_value=answer)
    assert status() is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, html=PAGE),
        httpx.Response(503, json={"message": "upstream is down"}),
        httpx.Response(429),
        httpx.Response(408),
        httpx.Response(200, html=PAGE),
        httpx.Response(200, text='[{"status": "comp'),
        httpx.Response(200, text=""),
        httpx.Response(200, json={"status": "completed"}),
        httpx.Response(200, json=[{"state": "completed"}]),
        httpx.Response(200, json=[{"status": None}]),
        httpx.Response(200, json=["completed"]),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("too slow"),
        httpx.RemoteProtocolError("cut short"),
    ],
    ids=str,
)
def test_what_may_pass_is_unavailable(respx_mock: respx.MockRouter, answer: httpx.Response | Exception) -> None:
    respx_mock.get(ENDPOINT).mock(side_effect=[answer])
    with pytest.raises(BackendUnavailable):
        status()
    assert respx_mock.calls.call_count == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(401, json={"message": "Invalid API key"}), "401 (Invalid API key): check SUPABASE_SERVICE_KEY"),
        (httpx.Response(403, text="Forbidden"), "403 (no reason given): check SUPABASE_SERVICE_KEY"),
        (refusal(404, "PGRST205", "Could not find the table"), "Could not find the table): check SUPABASE_URL"),
        (refusal(400, "42703", "column jobs.status does not exist"), "check SUPABASE_URL"),
        (httpx.Response(404, html=PAGE), "404 (no reason given): check SUPABASE_URL"),
        (httpx.Response(301, headers={"Location": "https://elsewhere.example"}), "check SUPABASE_URL"),
        (httpx.Response(401, json=[KEY]), "no reason given"),
        (httpx.Response(401, text=json.dumps({"message": f"wrong key {KEY}"})), "wrong key ***"),
    ],
)
def test_what_will_not_pass_is_configuration(respx_mock: respx.MockRouter, answer: httpx.Response, said: str) -> None:
    respx_mock.get(ENDPOINT).mock(return_value=answer)
    with pytest.raises(ConfigurationError) as caught:
        status()
    assert said in str(caught.value)
    assert KEY not in str(caught.value)

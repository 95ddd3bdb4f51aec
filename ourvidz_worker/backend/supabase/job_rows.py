"""What the product last recorded of a job, over Supabase's REST rows."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from ourvidz_worker.backend.exchange import ExchangeTransport
from ourvidz_worker.backend.retrying import worth_a_retry
from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.errors import BackendUnavailable, ConfigurationError, WorkerError

_NO_UUID = "22P02"  # PostgreSQL's "invalid text representation": no row can have such an id


class SupabaseJobRows:
    """A `JobRows`; `url` is the project's, `timeout_seconds` bounds one look. Nothing is repeated here."""

    def __init__(self, *, url: str, service_key: str, timeout_seconds: float = 5.0) -> None:
        self._endpoint = f"{url.rstrip('/')}/rest/v1/jobs"
        self._service_key = service_key
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(
            transport=ExchangeTransport(),
            timeout=timeout_seconds,
            headers={"apikey": service_key, "Authorization": f"Bearer {service_key}"},
        )

    async def status(self, job_id: str) -> str | None:
        wanted = {"id": f"eq.{job_id}", "select": "status"}
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._http.get(self._endpoint, params=wanted)
        except (TimeoutError, httpx.HTTPError) as error:
            raise BackendUnavailable(f"the product's jobs table did not answer ({type(error).__name__})") from error
        if answer.status_code == 200:
            return _status(answer)
        if _json(answer, "code") == _NO_UUID:
            return None
        raise self._problem(answer)

    async def close(self) -> None:
        await self._http.aclose()

    def _problem(self, answer: httpx.Response) -> WorkerError:
        status = answer.status_code
        if worth_a_retry(status):
            return BackendUnavailable(f"the product's jobs table is out of reach: the gateway answered HTTP {status}")
        said = quoted(_json(answer, "message"), self._service_key) or "no reason given"
        cure = "SUPABASE_SERVICE_KEY" if status in (401, 403) else "SUPABASE_URL"
        return ConfigurationError(f"the product's jobs table answered {status} ({said}): check {cure}")


def _status(answer: httpx.Response) -> str | None:
    try:
        match answer.json():
            case []:
                return None
            case [{"status": str(status)}, *_]:
                return status
    except ValueError:  # an HTML page, or cut short
        pass
    raise BackendUnavailable("the product's jobs table answered with something else than a row")


def _json(answer: httpx.Response, name: str) -> str:
    """A text of the answer's JSON object, or ""."""
    try:
        body: Any = answer.json()
    except ValueError:
        return ""
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""

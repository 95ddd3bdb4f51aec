"""Reports to the product's `job-callback` function, retried by the table of contract section 5."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import ClientError

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.backend.exchange import Answer, Exchange
from ourvidz_worker.backend.retrying import Sleep, retrying, worth_a_retry
from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.contract.callback import (
    SIGNATURE_HEADER,
    Callback,
    CallbackProfile,
    callback_body,
    callback_signature,
)
from ourvidz_worker.errors import (
    BackendRefused,
    BackendUnavailable,
    ConfigurationError,
    RowMissing,
    RowNotLinked,
    WorkerError,
)
from ourvidz_worker.instruments import tracing

_NOT_LINKED = "cannot be completed without an associated"
_ROW_MISSING = (
    "Cannot coerce the result to a single JSON object",
    "multiple (or no) rows returned",
    "Job not found",
)


class CallbackReporter:
    """A `JobReporter` over HTTP; `url` is the project's, `timeout_seconds` bounds one request.

    Raises `ConfigurationError` when profile 2026-02 has no secret to sign with.
    """

    def __init__(
        self,
        *,
        url: str,
        service_key: str,
        profile: CallbackProfile = "2025-07",
        secret: str | None = None,
        timeout_seconds: float = 30.0,
        patience: CallbackPatience | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        if profile == "2026-02" and not secret:
            raise ConfigurationError(
                "JOB_CALLBACK_SECRET is missing: callback profile 2026-02 signs every call with it"
            )
        self._endpoint = f"{url.rstrip('/')}/functions/v1/job-callback"
        self._service_key = service_key
        self._profile = profile
        self._secret = secret if profile == "2026-02" else None
        self._timeout_seconds = timeout_seconds
        self._patience = patience or CallbackPatience()
        self._sleep = sleep
        self._exchange = Exchange()

    async def report(self, callback: Callback) -> None:
        body = callback_body(callback, self._profile)
        headers = {
            "apikey": self._service_key,
            "Authorization": f"Bearer {self._service_key}",
            "Content-Type": "application/json",
            **tracing.headers(),
        }
        if self._secret:
            headers[SIGNATURE_HEADER] = callback_signature(body, self._secret)
        patience = self._patience.for_status(callback.status)
        await retrying("callback", patience, sleep=self._sleep)(self._send, body, headers)

    async def close(self) -> None:
        await self._exchange.close()

    async def _send(self, body: bytes, headers: dict[str, str]) -> None:
        try:
            answer = await self._exchange.post(self._endpoint, body, headers, seconds=self._timeout_seconds)
        except (TimeoutError, ClientError) as error:
            reason = type(error).__name__
            raise BackendUnavailable(f"job-callback did not answer ({reason})") from error
        if problem := self._problem(answer):
            raise problem

    def _problem(self, answer: Answer) -> WorkerError | None:
        """What an answer means for the caller; None for success."""
        status, body = answer.status, _json_object(answer)
        relayed = answer.headers.get("x-relay-error", "").lower() == "true"
        if relayed or worth_a_retry(status):
            return BackendUnavailable(f"job-callback is out of reach: the gateway answered HTTP {status}")
        message = _message(body) if body is not None else _plain_words(answer)
        if status == 404 and "Job not found" not in message:
            return ConfigurationError("job-callback answered 404: deploy the function, or correct SUPABASE_URL")
        if status in (401, 403):
            return ConfigurationError(self._refused_credentials(status, message))
        if body is None and (status == 200 or not message):
            return BackendUnavailable(f"job-callback answered HTTP {status} without a JSON object")
        if status == 200 and body is not None and body.get("success") is not False:
            return None
        return self._by_message(message or f"HTTP {status} without a reason")

    def _by_message(self, message: str) -> WorkerError:
        """The function answers every failure, passing or final, with the same status."""
        said = quoted(message, self._service_key, self._secret or "")
        if _NOT_LINKED in message:
            return RowNotLinked(f"the product has not linked the job's row yet: {said}")
        if any(sign in message for sign in _ROW_MISSING):
            return RowMissing(f"the product has no row for this job: {said}")
        return BackendRefused(f"job-callback refuses the report: {said}")

    def _refused_credentials(self, status: int, message: str) -> str:
        said = quoted(message, self._service_key, self._secret or "")
        keys = "SUPABASE_SERVICE_KEY" + (" and JOB_CALLBACK_SECRET" if self._secret else "")
        return f"job-callback answered {status} ({said or 'no reason given'}): check {keys}"


def _json_object(answer: Answer) -> dict[str, Any] | None:
    try:
        body = json.loads(answer.body)
    except ValueError:  # an HTML page, or cut short
        return None
    return body if isinstance(body, dict) else None


def _plain_words(answer: Answer) -> str:
    """The function of 2026-02 says some of its refusals in plain text; an HTML page is a proxy's."""
    text = answer.body.decode("utf-8", "replace").strip()
    plain = answer.headers.get("content-type", "").startswith("text/plain") and not text.startswith("<")
    return text if plain else ""


def _message(body: dict[str, Any]) -> str:
    """The function says `error`; Supabase's gateway says `message` or `msg`."""
    words = [str(body.get(name) or "") for name in ("error", "message", "msg")]
    return ": ".join(dict.fromkeys(filter(None, words)))

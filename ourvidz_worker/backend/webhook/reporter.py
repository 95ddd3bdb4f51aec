"""Reports to any https address that checks a signature, with the bodies of contract section 5."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkerError
from ourvidz_worker.instruments import tracing


class WebhookReporter:
    """A `JobReporter`: 2xx is heard, 401, 403 and redirects are a matter of configuration, 408, 425, 429 and 5xx are
    repeated, and whatever else is refused for good.

    The signature covers the exact bytes of the body. `timeout_seconds` bounds one request.
    """

    def __init__(
        self,
        *,
        url: str,
        secret: str,
        profile: CallbackProfile = "2025-07",
        timeout_seconds: float = 30.0,
        patience: CallbackPatience | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._url = url
        self._secret = secret
        self._profile = profile
        self._timeout_seconds = timeout_seconds
        self._patience = patience or CallbackPatience()
        self._sleep = sleep
        self._exchange = Exchange()

    async def report(self, callback: Callback) -> None:
        body = callback_body(callback, self._profile)
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: callback_signature(body, self._secret),
            **tracing.headers(),
        }
        patience = self._patience.for_status(callback.status)
        await retrying("callback", patience, sleep=self._sleep)(self._send, body, headers)

    async def close(self) -> None:
        await self._exchange.close()

    async def _send(self, body: bytes, headers: dict[str, str]) -> None:
        try:
            answer = await self._exchange.post(self._url, body, headers, seconds=self._timeout_seconds)
        except (TimeoutError, ClientError) as error:
            raise BackendUnavailable(f"the receiver of reports did not answer ({type(error).__name__})") from error
        if not 200 <= answer.status < 300:
            raise self._problem(answer)

    def _problem(self, answer: Answer) -> WorkerError:
        status = answer.status
        if worth_a_retry(status):
            return BackendUnavailable(
                f"the receiver of reports answered HTTP {status}", retry_after=_retry_after(answer)
            )
        if status < 400:
            return ConfigurationError(
                f"the receiver of reports answered HTTP {status}: set OURVIDZ_REPORT_URL to where it leads"
            )
        said = quoted(answer.body.decode("utf-8", "replace"), self._secret) or "no reason given"
        if status in (401, 403):
            return ConfigurationError(
                f"the receiver of reports answered {status} ({said}): set JOB_CALLBACK_SECRET as it has it"
            )
        return BackendRefused(f"the receiver of reports refuses the report: {status} {said}")


def _retry_after(answer: Answer) -> float:
    """Seconds, given as such or as a date; 0 where the header is missing or something else."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max((moment.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)

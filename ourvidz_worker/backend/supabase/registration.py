"""Telling the product where its language worker is reached, through one of its own functions.

`register-chat-worker` and `update-worker-url` read the same facts under different names, look at `<address>/health`
themselves, and ignore what they do not know; so one body does for both. There is no function that takes an address
back: the next worker's registration replaces it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import ClientError

from ourvidz_worker.backend.exchange import Answer, Exchange
from ourvidz_worker.backend.retrying import Patience, Sleep, retrying, worth_a_retry
from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError

PATIENCE_SECONDS = 300.0  # a proxy needs a while until it knows a new pod
_REQUEST_SECONDS = 20.0  # the function waits up to 5 s for the worker's health


class Registration:
    """Of one `address`; `found_by` names the variable that it is known from."""

    def __init__(
        self,
        *,
        url: str,
        service_key: str,
        function: str,
        address: str,
        found_by: str,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._function = function
        self._endpoint = f"{url.rstrip('/')}/functions/v1/{function}"
        self._service_key = service_key
        self._body = json.dumps(_facts(address, found_by)).encode()
        self._sleep = sleep
        self._exchange = Exchange()

    async def register(self) -> str:
        """Returns what the function found of the worker's health, or ''.

        Raises `BackendUnavailable` when it stayed out of reach, or did not reach the worker, through all retries,
        `ConfigurationError` for a wrong key or a function that is not deployed, and `BackendRefused`.
        """
        patience: Patience = {BackendUnavailable: PATIENCE_SECONDS}
        return str(await retrying("registration", patience, sleep=self._sleep)(self._send))

    async def close(self) -> None:
        await self._exchange.close()

    async def _send(self) -> str:
        headers = {
            "apikey": self._service_key,
            "Authorization": f"Bearer {self._service_key}",
            "Content-Type": "application/json",
        }
        try:
            answer = await self._exchange.post(self._endpoint, self._body, headers, seconds=_REQUEST_SECONDS)
        except (TimeoutError, ClientError) as error:
            raise BackendUnavailable(f"{self._function} did not answer ({type(error).__name__})") from error
        return self._judged(answer)

    def _judged(self, answer: Answer) -> str:
        said = _object(answer)
        words = quoted(str(said.get("error") or said.get("message") or "no reason given"), self._service_key)
        if answer.status == 200 and said.get("success") is not False:
            return str(said.get("healthStatus") or "")
        if answer.status in (401, 403):
            raise ConfigurationError(f"{self._function} answered {answer.status} ({words}): check SUPABASE_SERVICE_KEY")
        if answer.status == 404:
            raise ConfigurationError(
                f"{self._function} answered 404: deploy the function, or correct OURVIDZ_REGISTER_FUNCTION"
            )
        sentence = f"{self._function} answered HTTP {answer.status}: {words}"
        if worth_a_retry(answer.status) or "not responding" in words:
            raise BackendUnavailable(sentence)
        raise BackendRefused(sentence)


def _facts(address: str, found_by: str) -> dict[str, Any]:
    return {
        "worker_url": address,
        "auto_registered": True,
        "workerUrl": address,
        "autoRegistered": True,
        "registrationMethod": "startup",
        "detectionMethod": found_by,
    }


def _object(answer: Answer) -> dict[str, Any]:
    try:
        body = json.loads(answer.body)
    except ValueError:  # a proxy's page
        return {}
    return body if isinstance(body, dict) else {}

"""The Upstash client, with timeouts and with errors that say what to do next (contract section 1)."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from aiohttp import ClientError
from upstash_redis.asyncio import Redis
from upstash_redis.errors import UpstashError
from upstash_redis.http import AsyncHttpClient

from ourvidz_worker.backend.exchange import Answer, Exchange
from ourvidz_worker.backend.queue.commands import End
from ourvidz_worker.backend.queue.refusals import QUOTA, meaning
from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, WorkerError
from ourvidz_worker.instruments import exchanges

_CURE = "Redis refuses the token: set UPSTASH_REDIS_REST_TOKEN to the read-write token of the database"


class UpstashClient(Redis):
    """`upstash_redis.asyncio.Redis` without retries, every command within `timeout_seconds`.

    Elements that are not UTF-8 come back with surrogate escapes. Raises `BackendUnavailable` when the outcome
    is not known, `QuotaExceeded`, and `BackendRefused` for a wrong token or a command that Redis refuses.
    """

    def __init__(self, *, url: str, token: str, timeout_seconds: float) -> None:
        # A blind retry of a claim whose answer was lost would take a second job.
        super().__init__(url, token, rest_encoding="base64", rest_retries=0, allow_telemetry=False)
        self._headers["Content-Type"] = "application/json"
        self._http = _Transport(timeout_seconds, self._update_sync_token)
        self._secret = token

    async def execute(self, command: list[Any]) -> Any:
        with exchanges.redis_command(str(command[0])):
            return await self._executed(command)

    async def _executed(self, command: list[Any]) -> Any:
        try:
            return await super().execute(command)
        except UpstashError as error:
            raise meaning(str(error), self._secret, credentials=_CURE) from error
        except _StatusRefused as error:
            raise self._refused_status(error.status) from error
        except (TimeoutError, ClientError) as error:
            reason = str(error) or type(error).__name__
            raise BackendUnavailable(f"Redis did not answer: {quoted(reason, self._secret)}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendUnavailable(
                "what answered at UPSTASH_REDIS_REST_URL does not speak Upstash's REST: check the URL"
            ) from error

    async def wait_for(self, key: str, end: End, pause: float) -> None:  # noqa: ARG002
        """REST knows no blocking commands (contract section 1)."""
        await asyncio.sleep(pause)

    @staticmethod
    def _refused_status(status: int) -> WorkerError:
        if status == 401:
            return BackendRefused(_CURE)
        return BackendUnavailable(f"Redis answered HTTP {status}")


class _StatusRefused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class _Transport(AsyncHttpClient):
    """The library's transport has no timeouts, drops the HTTP status and stumbles over invalid UTF-8."""

    def __init__(self, timeout_seconds: float, sync_token_cb: Callable[[str], None]) -> None:
        self._timeout_seconds = timeout_seconds
        self._update_sync_token = sync_token_cb
        self._exchange = Exchange()

    async def execute(
        self,
        url: str,
        headers: dict[str, str],
        command: list[Any],
        from_pipeline: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        assert not from_pipeline, "a pipeline is billed for each of its commands, like commands sent alone"
        body = json.dumps(command).encode()
        answer = await self._exchange.post(url, body, headers, seconds=self._timeout_seconds)
        _check_status(answer)
        if sync_token := answer.headers.get("Upstash-Sync-Token"):
            self._update_sync_token(sync_token)
        document = json.loads(answer.body)
        if error := document.get("error"):
            raise UpstashError(error)
        return _decoded(document["result"])

    async def close(self) -> None:
        await self._exchange.close()


def _check_status(answer: Answer) -> None:
    status = answer.status
    if status == 429:  # too many at once, unless the body says that the plan is used up
        text = answer.body.decode(errors="replace")
        if any(sign in text for sign in QUOTA):
            return
    if status in (401, 408, 425, 429) or status >= 500:
        raise _StatusRefused(status)


def _decoded(result: Any) -> Any:
    if isinstance(result, list):
        return [_decoded(item) for item in result]
    if isinstance(result, str) and result != "OK":  # the only text sent plainly
        return b64decode(result, validate=True).decode("utf-8", "surrogateescape")
    return result

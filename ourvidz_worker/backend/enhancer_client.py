"""The qwen worker over HTTP, for those who keep no language model of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx

from ourvidz_worker.backend.loopback import is_loopback
from ourvidz_worker.backend.retrying import Sleep
from ourvidz_worker.backend.trust import trusted
from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.contract.catalogue import JobType
from ourvidz_worker.errors import ContentRefused, EnhancementFailed, WorkerError

_CONNECT_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE = 10.0
_COME_BACK_LATER = 503
_SEEDS = 2**53  # JSON carries no larger whole number safely; a job's seed may be larger


class EnhancerClient:
    """A `PromptEnhancer` that asks the qwen worker at `url`.

    A `patient` client waits, as long as a call allows, for a worker that is out of reach or has its hands full.
    One that stayed out of reach all that time is tried once a call until it answers again.
    """

    def __init__(self, *, url: str, token: str, patient: bool = True, sleep: Sleep = asyncio.sleep) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._patient = patient
        self._sleep = sleep
        self._in_reach = True
        self._waited_in_vain = False
        self._http = httpx.AsyncClient(
            verify=trusted(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),  # each call has a limit of its own
            trust_env=not is_loopback(url),
        )

    async def enhance(self, prompt: str, job_type: JobType, *, seed: int, time_limit: float) -> str:
        """As the port says; the prompt as it came is no answer, either."""
        question = {
            "prompt": prompt,
            "job_type": job_type.name,
            "format": job_type.media,
            "quality": job_type.quality,
            "seed": seed % _SEEDS,
        }
        answer = await self.ask(question, time_limit=time_limit)
        metadata = answer.get("enhancement_metadata")
        if isinstance(metadata, dict) and metadata.get("fallback_level"):
            problem = quoted(str(metadata.get("problem") or "no reason given"), self._token, prompt)
            raise EnhancementFailed(f"the qwen worker gave the prompt back as it came: {problem}")
        return str(answer["enhanced_prompt"])

    async def ask(self, question: Mapping[str, Any], *, time_limit: float) -> dict[str, Any]:
        """All that the worker says of a rewritten prompt.

        Raises `ContentRefused`, or `EnhancementFailed` when there is no answer within `time_limit` seconds.
        """
        try:
            async with asyncio.timeout(time_limit):
                answer = await self._answer(question)
        except TimeoutError:
            self._waited_in_vain = not self._in_reach
            problem = "did not answer" if self._in_reach else "was out of reach"
            raise EnhancementFailed(f"the qwen worker at {self._url} {problem} for {time_limit:g} s") from None
        body = _json_object(answer)
        if answer.status_code == 200 and isinstance(body.get("enhanced_prompt"), str):
            return body
        raise self._refusal(answer.status_code, body, str(question.get("prompt", "")))

    async def close(self) -> None:
        await self._http.aclose()

    async def _answer(self, question: Mapping[str, Any]) -> httpx.Response:
        """The first answer that does not ask to come back later. Asking again is harmless."""
        content = json.dumps(question)  # in ASCII: half of a surrogate pair may stand in a prompt
        while True:
            try:
                answer = await self._http.post(f"{self._url}/enhance", content=content)
            except httpx.TransportError as error:
                self._in_reach = False
                if not self._patient or self._waited_in_vain:
                    raise EnhancementFailed(f"the qwen worker at {self._url} is out of reach") from error
                await self._sleep(_PAUSE_SECONDS)
                continue
            self._in_reach, self._waited_in_vain = True, False
            if answer.status_code != _COME_BACK_LATER or not self._patient:
                return answer
            await self._sleep(_asked_pause(answer))

    def _refusal(self, status: int, body: Mapping[str, Any], prompt: str) -> WorkerError:
        """The reason goes into logs, and prompts do not."""
        said = quoted(str(body.get("error") or "no reason given"), self._token, prompt)
        if status in (401, 403):
            return EnhancementFailed(
                f"the qwen worker at {self._url} refuses the token: set OURVIDZ_QWEN_TOKEN to the one it was given"
            )
        if body.get("error_type") == ContentRefused.error_type:
            return ContentRefused(said)
        if not body:
            return EnhancementFailed(f"what answered HTTP {status} at {self._url} is no qwen worker")
        return EnhancementFailed(f"the qwen worker answered HTTP {status}: {said}")


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    """The body, or nothing where it is no JSON object."""
    try:
        body = answer.json()
    except ValueError:  # a proxy's page, or cut short
        return {}
    return body if isinstance(body, dict) else {}


def _asked_pause(answer: httpx.Response) -> float:
    asked = answer.headers.get("retry-after", "")
    return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else _PAUSE_SECONDS

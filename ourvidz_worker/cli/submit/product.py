"""The product as its signed-in user meets it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from httpx import AsyncClient as AsyncHttpClient
from httpx import HTTPError, Timeout
from supabase import (
    AsyncClient,
    AsyncClientOptions,
    AsyncSupabaseException,
    AuthError,
    AuthRetryableError,
    FunctionsError,
    PostgrestAPIError,
    acreate_client,
)

from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.cli.submit.orders import Order
from ourvidz_worker.contract.catalogue import Catalogue

REQUIRED = {
    "SUPABASE_URL": "the project's address",
    "SUPABASE_ANON_KEY": "the project's anonymous key",
    "OURVIDZ_USER_EMAIL": "the account to sign in with",
    "OURVIDZ_USER_PASSWORD": "the account's password",
}
_SECRETS = ("SUPABASE_ANON_KEY", "OURVIDZ_USER_PASSWORD")
_CONNECT_SECONDS = 10.0
_SECONDS = 150.0  # as long as the product's functions may run
_NO_REASON = "An error occurred while requesting"  # the client's own words for an answer without one
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w.-]+")


class ProductRefused(Exception):
    """What the product said; its message is safe to show."""


class ProductUnreachable(Exception):
    """SUPABASE_URL does not answer."""


class Product:
    """Every call raises `ProductRefused` or `ProductUnreachable`."""

    def __init__(self, client: AsyncClient, catalogue: Catalogue) -> None:
        self._client = client
        self._catalogue = catalogue

    async def enhanced(self, order: Order) -> dict[str, Any]:
        """What `enhance-prompt` answers for this order."""
        job_type = self._catalogue.get(order.job_type)
        more = {"format": job_type.media, "quality": job_type.quality} if job_type else {}
        question = {"prompt": order.prompt, "jobType": order.job_type, **more}
        answer = await self._invoke("enhance-prompt", order, question)
        if not isinstance(answer.get("enhanced_prompt"), str):
            raise ProductRefused("the answer of enhance-prompt holds no enhanced_prompt")
        return answer

    async def queued(self, order: Order) -> dict[str, Any]:
        """The row of the job that this order became."""
        answer = await self._invoke("queue-job", order, order.body())
        if not isinstance(answer.get("job"), dict):
            raise ProductRefused("the answer of queue-job holds no job")
        return cast("dict[str, Any]", answer["job"])

    async def jobs(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Rows by id."""
        with _told():
            rows = await self._client.table("jobs").select("*").in_("id", list(ids)).execute()
        return {str(row["id"]): row for row in cast("list[dict[str, Any]]", rows.data)}

    async def _invoke(self, function: str, order: Order, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            with _told():
                content = await self._client.functions.invoke(function, {"body": dict(body)})
            answer = json.loads(cast("bytes", content))
        except FunctionsError as error:
            raise ProductRefused(self._refusal(function, order, error)) from error
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ProductRefused(f"{function} answered what is no JSON object: check SUPABASE_URL")
        return answer

    def _refusal(self, function: str, order: Order, error: FunctionsError) -> str:
        if error.message.startswith(_NO_REASON):
            return f"{function} answered HTTP {error.status} without a reason: check that it is deployed"
        if order.job_type not in self._catalogue:
            return f"{_said(error.message)}; known are {', '.join(self._catalogue)}, and files that end in .json"
        return _said(error.message)


@asynccontextmanager
async def signed_in(catalogue: Catalogue) -> AsyncIterator[Product]:
    """Raises as the calls of `Product` do."""
    async with AsyncHttpClient(timeout=Timeout(_SECONDS, connect=_CONNECT_SECONDS)) as http:
        with _told():
            options = AsyncClientOptions(httpx_client=http)
            try:
                client = await acreate_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_ANON_KEY"], options)
            except AsyncSupabaseException as error:
                raise ProductRefused(f"SUPABASE_URL or SUPABASE_ANON_KEY is wrong: {_said(str(error))}") from error
            await client.auth.sign_in_with_password(
                {"email": os.environ["OURVIDZ_USER_EMAIL"], "password": os.environ["OURVIDZ_USER_PASSWORD"]}
            )
        yield Product(client, catalogue)


def without_tokens(text: str) -> str:
    """A signed address of a reference carries one."""
    return _TOKEN.sub("***", text)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, HTTPError, AuthRetryableError) as error:
        raise ProductUnreachable(f"SUPABASE_URL cannot be reached: {_said(str(error))}") from error
    except AuthError as error:
        cure = "check OURVIDZ_USER_EMAIL, OURVIDZ_USER_PASSWORD and SUPABASE_ANON_KEY"
        raise ProductRefused(f"nobody could be signed in ({_said(error.message)}): {cure}") from error
    except PostgrestAPIError as error:
        raise ProductRefused(_said(error.message or "")) from error


def _said(message: str) -> str:
    """What a server says, which may repeat what it was sent."""
    return quoted(without_tokens(message), *(os.environ[name] for name in _SECRETS)) or "no reason given"

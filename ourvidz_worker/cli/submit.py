"""`submit`: queue a job the way the product's users do, signed in, through the `queue-job` function."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from typing import Any, cast

from httpx import HTTPError
from supabase import AsyncClient, AuthError, FunctionsError, PostgrestAPIError, acreate_client

from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.cli.report import FINAL

_CURES = {
    "SUPABASE_URL": "the project's address",
    "SUPABASE_ANON_KEY": "the project's anonymous key",
    "OURVIDZ_USER_EMAIL": "the account to sign in with",
    "OURVIDZ_USER_PASSWORD": "the account's password",
}
_SECRETS = ("SUPABASE_ANON_KEY", "OURVIDZ_USER_PASSWORD")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w.-]+")
_LOOK_SECONDS = 1.0


def run(arguments: argparse.Namespace) -> int:
    missing = [f"{name} is not set: set it to {cure}" for name, cure in _CURES.items() if not os.environ.get(name)]
    if missing:
        print(
            "\n".join([*missing, "`ourvidz-worker local` prints all of them for the embedded backend"]), file=sys.stderr
        )
        return 1
    try:
        return asyncio.run(_submit(arguments))
    except (AuthError, FunctionsError) as error:
        print(f"the job was not queued: {_said(error.message)}", file=sys.stderr)
        return 1
    except PostgrestAPIError as error:
        print(f"the job was queued, but cannot be looked at: {_said(error.message or '')}", file=sys.stderr)
        return 1
    except (OSError, TimeoutError, HTTPError) as error:
        print(f"SUPABASE_URL cannot be reached: {_said(str(error))}", file=sys.stderr)
        return 1


def _said(message: str) -> str:
    """What a server says, which may repeat what it was sent."""
    return quoted(_TOKEN.sub("***", message), *(os.environ[name] for name in _SECRETS)) or "no reason given"


async def _submit(arguments: argparse.Namespace) -> int:
    client = await acreate_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_ANON_KEY"])
    await client.auth.sign_in_with_password(
        {"email": os.environ["OURVIDZ_USER_EMAIL"], "password": os.environ["OURVIDZ_USER_PASSWORD"]}
    )
    answer = await client.functions.invoke(
        "queue-job", {"body": {"jobType": arguments.type, "metadata": _metadata(arguments)}}
    )
    job: Any = _decoded(answer)["job"]
    if arguments.wait:
        job = await _wait(client, job["id"], arguments.timeout)
    if arguments.json:
        print(_TOKEN.sub("***", json.dumps(job)))  # that of a signed reference, too
    else:
        print(f"{job['id']}  {job['status']}  {job.get('error_message') or ''}".rstrip())
    return 1 if arguments.wait and job["status"] != "completed" else 0


def _decoded(answer: dict[str, Any] | bytes) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else cast("dict[str, Any]", json.loads(answer))


def _metadata(arguments: argparse.Namespace) -> dict[str, Any]:
    metadata: dict[str, Any] = {"prompt": arguments.prompt, "num_images": arguments.images, "credits": 1}
    if arguments.seed is not None:
        metadata["seed"] = arguments.seed
    if arguments.reference:
        metadata |= {
            "reference_image": True,
            "reference_image_url": arguments.reference,
            "reference_type": arguments.reference_type,
            "reference_strength": arguments.reference_strength,
        }
    return metadata


async def _wait(client: AsyncClient, job_id: str, seconds: float) -> dict[str, Any]:
    """The job's row once it is over, or as it is after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        rows = await client.table("jobs").select("*").eq("id", job_id).single().execute()
        row = cast("dict[str, Any]", rows.data)
        if row["status"] in FINAL or loop.time() > deadline:
            return row
        await asyncio.sleep(_LOOK_SECONDS)

"""`queue cancel`: a mark in Redis that every worker looks for."""

from __future__ import annotations

import argparse

from ourvidz_worker.cli.exit_codes import USAGE_EXIT
from ourvidz_worker.cli.queue.desk import Desk
from ourvidz_worker.contract.cancellation import CANCELLED_FOR, cancel_key
from ourvidz_worker.contract.fields import Found, identifier
from ourvidz_worker.contract.payload_error import PayloadError
from ourvidz_worker.control import ExitCode


async def cancel(desk: Desk, arguments: argparse.Namespace) -> int:
    try:
        sentence = await cancel_job(desk, arguments.job_id)
    except PayloadError as error:
        desk.output.complain(str(error))
        return USAGE_EXIT
    if desk.output.as_json:
        desk.output.document({"job_id": arguments.job_id, "cancelled_for": CANCELLED_FOR})
    else:
        desk.output.line(sentence)
    return ExitCode.OK


async def cancel_job(desk: Desk, job_id: str) -> str:
    """The sentence that says what happens now. Raises `PayloadError` for what is no id."""
    identifier(Found("JOB_ID", job_id))
    await desk.redis.set(cancel_key(job_id), "operator", ex=CANCELLED_FOR)
    return f"job {job_id} is cancelled: it stops at its next step, or before its first; the mark lasts a day"

"""`queue parked`: finished results that the product refused, kept on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.cli.exit_codes import USAGE_EXIT
from ourvidz_worker.cli.queue.dead import confirmed, drop_letters_of
from ourvidz_worker.cli.queue.desk import Desk
from ourvidz_worker.cli.queue.output import Outcome, size
from ourvidz_worker.cli.wiring import build_courier
from ourvidz_worker.errors import BackendUnavailable, Restart, WorkerError
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.spool import Parked, Result

# An operator waits, and may repeat the command.
_PATIENCE = CallbackPatience(unlinked=15.0, missing=5.0, unavailable=30.0)
_HEADINGS = ("job", "report", "bucket", "files", "size", "since", "reason")


async def show_list(desk: Desk, _arguments: argparse.Namespace) -> int:
    parked = desk.parked()
    if desk.output.as_json:
        desk.output.document([as_json(entry) for entry in parked])
    elif parked:
        desk.output.table(_HEADINGS, [tuple(_as_row(entry)) for entry in parked])
    else:
        desk.output.line("nothing is parked on this machine")
    return 0


async def resend(desk: Desk, arguments: argparse.Namespace) -> int:
    parked = [entry for entry in desk.parked() if arguments.all or entry.job_id == arguments.id]
    if not parked and not arguments.all:
        desk.output.complain(f"nothing of a job {arguments.id} is parked on this machine: see `queue parked list`")
        return 1
    courier = patient_courier(desk)
    try:
        return await desk.output.outcomes(_resend_each(parked, courier, desk))
    finally:
        await courier.close()


async def drop(desk: Desk, arguments: argparse.Namespace) -> int:
    parked = [entry for entry in desk.parked() if arguments.all or entry.job_id == arguments.id]
    if not parked and not arguments.all:
        desk.output.complain(f"nothing of a job {arguments.id} is parked on this machine: see `queue parked list`")
        return 1
    if parked and arguments.all and not arguments.yes:
        if not sys.stdin.isatty():
            desk.output.complain("--all drops every parked result for good: say --yes, too, where nobody can be asked")
            return USAGE_EXIT
        if not confirmed(f"drop {len(parked)} parked results for good?"):
            desk.output.complain("nothing was dropped")
            return 1
    return await desk.output.outcomes(_drop_each(parked, desk))


def patient_courier(desk: Desk) -> Courier:
    """As patient as the person who waits for it."""
    return build_courier(desk.settings, desk.catalogue, desk.spool, patience=_PATIENCE)


def drop_entry(entry: Parked, desk: Desk) -> Outcome:
    """Its files are gone then; the job's dead letter, where it has one, stays."""
    desk.spool.discard(entry.job_id)
    gone = all(other.job_id != entry.job_id for other in desk.parked())
    return _outcome(entry, "dropped" if gone else "it could not be removed from the spool", done=gone)


async def _drop_each(parked: Sequence[Parked], desk: Desk) -> AsyncIterator[Outcome]:
    for entry in parked:
        yield drop_entry(entry, desk)


async def _resend_each(parked: Sequence[Parked], courier: Courier, desk: Desk) -> AsyncIterator[Outcome]:
    for entry in parked:
        yield await resend_entry(entry, courier, desk)


async def resend_entry(entry: Parked, courier: Courier, desk: Desk) -> Outcome:
    """Deliver as a worker would; what is refused again stays, with what the product says now."""
    if entry.result is None:
        return _outcome(entry, f"not sent: {entry.reason}", done=False)
    return await _resend(entry, entry.result, courier, desk)


async def _resend(entry: Parked, result: Result, courier: Courier, desk: Desk) -> Outcome:
    job_id, report = entry.job_id, result.callback.status
    try:
        if report != "completed" and await desk.rows.status(job_id) == "completed":
            desk.spool.discard(job_id)
            return _outcome(entry, "not sent but discarded: the product has the job as completed by now")
        await courier.deliver(result)
    except BackendUnavailable as trouble:
        return _outcome(entry, f"kept: {trouble}", done=False)
    except Restart:
        raise
    except WorkerError as refusal:
        return _outcome(entry, f"kept: {refusal}{_note(entry, refusal, desk)}", done=False)
    # The letter first: should that fail, a repeated command finds the result again and delivers it once more.
    letters = await drop_letters_of(desk, job_id)
    desk.spool.discard(job_id)
    return _outcome(entry, f"delivered as {report}" + (", dead letter dropped" if letters else ""))


def _note(entry: Parked, refusal: WorkerError, desk: Desk) -> str:
    """Keep the new reason; what to add for the operator where that fails."""
    try:
        desk.spool.park(entry.job_id, str(refusal))
    except OSError as error:
        return f" (which could not be noted in the spool: {error.strerror or error})"
    return ""


def _outcome(entry: Parked, sentence: str, *, done: bool = True) -> Outcome:
    return Outcome(entry.job_id, entry.job_id, done, sentence)


def as_json(entry: Parked) -> dict[str, Any]:
    result = entry.result
    return {
        "job_id": entry.job_id,
        "report": result and result.callback.status,
        "bucket": result and (result.bucket or None),
        "files": 0 if result is None else len(result.assets),
        "bytes": 0 if result is None else sum(stored.asset.bytes for stored in result.assets),
        "since": entry.parked_at.isoformat(timespec="seconds"),
        "reason": entry.reason,
    }


def _as_row(entry: Parked) -> Sequence[object]:
    told = as_json(entry)
    return [
        told["job_id"],
        told["report"],
        told["bucket"],
        told["files"],
        size(told["bytes"]),
        told["since"],
        told["reason"],
    ]

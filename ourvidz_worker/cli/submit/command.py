"""`submit`: orders are read, their prompts enhanced where that was asked for, queued, and waited for."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ourvidz_worker.cli.chosen import chosen_catalogue
from ourvidz_worker.cli.exit_codes import INTERRUPTED, USAGE_EXIT
from ourvidz_worker.cli.plain import FINAL, printable
from ourvidz_worker.cli.submit.following import ProgressLine, follow
from ourvidz_worker.cli.submit.orders import (
    NotOrdered,
    Order,
    check_enhancement,
    check_options_of_a_storyboard,
    single_order,
)
from ourvidz_worker.cli.submit.product import (
    REQUIRED,
    Product,
    ProductRefused,
    ProductUnreachable,
    signed_in,
    without_tokens,
)
from ourvidz_worker.cli.submit.storyboard_file import read_storyboard
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.control import ExitCode

SECONDS_PER_JOB = 900.0


@dataclass(slots=True)
class Submission:
    """What became of an order: the job's row, or why there is none; and how its prompt was enhanced, if it was."""

    order: Order
    enhancement: Mapping[str, Any] | None = None
    job: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def completed(self) -> bool:
        return self.job is not None and self.job["status"] == "completed"


def run(arguments: argparse.Namespace) -> int:
    catalogue = chosen_catalogue()
    try:
        orders = _orders(arguments, catalogue)
    except NotOrdered as error:
        _complain(*error.problems)
        return USAGE_EXIT
    missing = [f"{name} is not set: set it to {cure}" for name, cure in REQUIRED.items() if not os.environ.get(name)]
    if missing:
        _complain(*missing, "`ourvidz-worker local` prints all of them for the embedded backend")
        return ExitCode.CONFIGURATION
    try:
        return asyncio.run(_submit(orders, arguments, catalogue))
    except (ProductRefused, ProductUnreachable) as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain("interrupted; what was queued goes on, and `ourvidz-worker queue cancel JOB_ID` stops it")
        return INTERRUPTED


def _orders(arguments: argparse.Namespace, catalogue: Catalogue) -> list[Order]:
    if arguments.what.lower().endswith(".json"):
        check_options_of_a_storyboard(arguments)
        orders = read_storyboard(Path(arguments.what), catalogue, seed=arguments.seed)
    else:
        orders = [single_order(arguments)]
    if arguments.enhance:
        check_enhancement(orders, catalogue)
    return orders


async def _submit(orders: Sequence[Order], arguments: argparse.Namespace, catalogue: Catalogue) -> int:
    submissions = [Submission(order) for order in orders]
    async with signed_in(catalogue) as product:
        if arguments.enhance:
            await _enhance(submissions, product, quiet=arguments.json)
        try:
            await _queue(submissions, product)
            queued = {submission.job["id"]: submission for submission in submissions if submission.job}
            if arguments.wait and queued:
                seconds = SECONDS_PER_JOB * len(queued) if arguments.timeout is None else arguments.timeout
                await _wait(queued, product, seconds)
        finally:
            _tell(submissions, as_json=arguments.json)
    fine = all(item.completed if arguments.wait else item.job for item in submissions)
    return 0 if fine else 1


async def _enhance(submissions: Sequence[Submission], product: Product, *, quiet: bool) -> None:
    """All prompts before anything is queued, so that a refusal costs nothing."""
    for submission in submissions:
        order = submission.order
        try:
            answer = await product.enhanced(order)
        except ProductRefused as error:
            raise ProductRefused(f"{_label(order)}the prompt was not enhanced: {error}") from error
        submission.enhancement = answer
        submission.order = order.enhanced(answer["enhanced_prompt"])
        if not quiet:
            print(printable(f"{_label(order)}prompt:   {order.prompt}"))
            print(printable(f"{_label(order)}enhanced: {answer['enhanced_prompt']}"))
            print(printable(f"{_label(order)}by:       {_author(answer)}"))


async def _queue(submissions: Sequence[Submission], product: Product) -> None:
    """Each by itself: what the product refuses of one scene says nothing of the next."""
    for submission in submissions:
        try:
            submission.job = await product.queued(submission.order)
        except ProductRefused as error:
            submission.problem = str(error)
        except ProductUnreachable as error:
            submission.problem = str(error)
            return


async def _wait(queued: Mapping[str, Submission], product: Product, seconds: float) -> None:
    with closing(ProgressLine()) as line:
        try:
            rows = await follow(product, list(queued), seconds=seconds, seen=line.show)
        except ProductRefused as error:
            raise ProductRefused(f"what was queued cannot be looked at: {error}") from error
    for job_id, row in rows.items():
        queued[job_id].job = row
    if going := sum(row["status"] not in FINAL for row in rows.values()):
        _complain(f"{going} of {len(rows)} not over after {seconds:g} s; what was queued goes on")


def _tell(submissions: Sequence[Submission], *, as_json: bool) -> None:
    for submission in submissions:
        job, label = submission.job, _label(submission.order)
        if job is None:
            _complain(f"{label}the job was not queued: {submission.problem or 'the command ended before'}")
        elif not as_json:
            print(printable(f"{label}{job['id']}  {job['status']}  {job.get('error_message') or ''}".rstrip()))
    if as_json:
        documents = [_document(submission) for submission in submissions]
        single = len(documents) == 1 and not submissions[0].order.label
        print(without_tokens(json.dumps(documents[0] if single else documents)))


def _document(submission: Submission) -> dict[str, Any]:
    """A single job is its row; a scene has its own besides."""
    enhancement = {"enhancement": submission.enhancement} if submission.enhancement else {}
    if not submission.order.label:
        return {**(submission.job or {}), **enhancement}
    return {"scene": submission.order.label, "job": submission.job, "problem": submission.problem, **enhancement}


def _label(order: Order) -> str:
    return f"{order.label}  " if order.label else ""


def _author(answer: Mapping[str, Any]) -> str:
    """Who wrote it, said openly where no model did."""
    metadata = answer.get("enhancement_metadata") or {}
    author = f"{metadata.get('model_used')} ({metadata.get('template_name')})"
    if not metadata.get("fallback_level"):
        return author
    reason = metadata.get("fallback_reason") or metadata.get("problem") or "no language model answered"
    return f"{author}, because {without_tokens(str(reason)[:300])}"


def _complain(*sentences: str) -> None:
    for sentence in sentences:
        print(printable(sentence), file=sys.stderr)

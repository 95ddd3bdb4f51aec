"""`queue dead`: jobs that workers gave up, and elements that are no jobs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from ourvidz_worker.backend.queue.dead_letters import DeadLetters, Letter, named
from ourvidz_worker.cli.exit_codes import USAGE_EXIT
from ourvidz_worker.cli.queue.desk import Desk
from ourvidz_worker.cli.queue.output import Outcome, Output, size
from ourvidz_worker.errors import Retry
from ourvidz_worker.runtime.spool import Parked

_NONE = "there are no dead letters"
_HEADINGS = ("id", "queue", "job", "type", "attempt", "died at", "reason")


@dataclass(frozen=True, slots=True)
class Found:
    """A letter and where it lies."""

    letter: Letter
    letters: DeadLetters


async def show_list(desk: Desk, _arguments: argparse.Namespace) -> int:
    letters = [letter for letters in desk.dead_letters() for letter in await letters.summaries()]
    if desk.output.as_json:
        desk.output.document([as_json(letter) for letter in letters])
    elif letters:
        _print(letters, desk.output)
    else:
        desk.output.line(_NONE)
    return 0


async def show(desk: Desk, arguments: argparse.Namespace) -> int:
    found = await _find(desk, arguments.id)
    if found is None:
        return 1
    letter = found.letter
    if desk.output.as_json:
        beginning = None if letter.glimpse.whole and letter.element is not None else letter.glimpse.first
        desk.output.document({**as_json(letter), "element": letter.element, "letter": beginning})
        return 0
    _print([letter], desk.output)
    desk.output.line(f"the letter has {size(letter.glimpse.length)}")
    for number, reason in enumerate(letter.history, 1):
        desk.output.line(f"delivery {number} came to nothing: {reason}")
    if letter.problem:
        desk.output.line(f"no worker would run it: {letter.problem}")
    if letter.element is not None:
        desk.output.line(letter.element)
    else:
        desk.output.line(f"the letter{'' if letter.glimpse.whole else ' begins'}: {letter.glimpse.first}")
    return 0


async def requeue(desk: Desk, arguments: argparse.Namespace) -> int:
    chosen = await _chosen(desk, arguments)
    if not isinstance(chosen, list):
        return chosen
    # The oldest first, to wait in the order in which they came.
    return await desk.output.outcomes(_requeue_each(chosen[::-1], desk, force=arguments.force))


async def drop(desk: Desk, arguments: argparse.Namespace) -> int:
    chosen = await _chosen(desk, arguments)
    if not isinstance(chosen, list):
        return chosen
    if chosen and arguments.all and not arguments.yes:
        if not sys.stdin.isatty():
            desk.output.complain("--all drops every letter for good: say --yes, too, where nobody can be asked")
            return USAGE_EXIT
        if not confirmed(f"drop {len(chosen)} letters of {' and '.join(desk.queues)} for good?"):
            desk.output.complain("nothing was dropped")
            return 1
    return await desk.output.outcomes(_drop_each(chosen))


async def drop_letters_of(desk: Desk, job_id: str) -> int:
    """Drop what the queues keep of a job that came to a good end; how many letters."""
    dropped = 0
    for letters in desk.dead_letters():
        for letter in await letters.letters():
            if letter.job_id == job_id:
                dropped += await letters.drop(letter)
    return dropped


async def _requeue_each(chosen: Sequence[Found], desk: Desk, *, force: bool) -> AsyncIterator[Outcome]:
    queued: set[str | None] = set()
    for found in chosen:
        letter = found.letter
        if letter.job_id in queued:
            yield _outcome(letter, "not queued: another letter of this job was; drop this one", done=False)
            continue
        try:
            outcome = await requeue_letter(found, desk, force=force)
        except Retry as trouble:
            yield _outcome(letter, f"{trouble}; repeat the command later", done=False)
            return
        if outcome.done and letter.job_id:
            queued.add(letter.job_id)
        yield outcome


async def _drop_each(chosen: Sequence[Found]) -> AsyncIterator[Outcome]:
    for found in chosen:
        yield await drop_letter(found)


async def drop_letter(found: Found) -> Outcome:
    dropped = await found.letters.drop(found.letter)
    return _outcome(found.letter, "dropped" if dropped else "it was not there any more")


async def requeue_letter(found: Found, desk: Desk, *, force: bool) -> Outcome:
    """Raises `Retry` where it is not known what became of it; it may be asked for again."""
    letter = found.letter
    if letter.element is None:
        return _outcome(letter, f"not queued: {letter.problem or 'the letter holds no element'}", done=False)
    if not force and (objection := await objection_to(letter, desk)):
        return _outcome(letter, f"not queued: {objection} (--force queues it all the same)", done=False)
    if await found.letters.requeue(letter):
        return _outcome(letter, f"queued again on {letter.queue}")
    return _outcome(letter, "not queued: it was not there any more", done=False)


async def objection_to(letter: Letter, desk: Desk) -> str | None:
    """Why another run of the job would be in vain, or worse."""
    if letter.problem or letter.job_id is None:
        return f"no worker would run it: {letter.problem}"
    if any(entry.job_id == letter.job_id and _finished(entry) for entry in desk.parked()):
        return f"its finished result lies on this machine: `queue parked resend {letter.job_id}` delivers that"
    match await desk.rows.status(letter.job_id):
        case "completed" | "cancelled" as over:
            return f"the product has the job {letter.job_id} as {over} already"
        case _:
            return None


async def _chosen(desk: Desk, arguments: argparse.Namespace) -> list[Found] | int:
    """The letters that a command is about, or the exit code where there is none."""
    if not arguments.all:
        found = await _find(desk, arguments.id)
        return 1 if found is None else [found]
    everything = [Found(letter, letters) for letters in desk.dead_letters() for letter in await letters.letters()]
    if not everything and not desk.output.as_json:
        desk.output.line(_NONE)
    return everything


async def _find(desk: Desk, name: str) -> Found | None:
    """The one letter of that name; says so where there is none or more than one."""
    found = [
        Found(letter, letters) for letters in desk.dead_letters() for letter in named(await letters.letters(), name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        desk.output.complain(f"{name} may mean any of {len(found)} letters; say the id of one of them:")
        for candidate in found:
            letter = candidate.letter
            desk.output.complain(f"{letter.id}  {letter.queue}  {letter.job_id or '-'}  {letter.reason}")
    else:
        desk.output.complain(f"there is no dead letter {name} on {' or '.join(desk.queues)}: see `queue dead list`")
    return None


def _finished(entry: Parked) -> bool:
    return entry.result is not None and entry.result.callback.status == "completed"


def confirmed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _outcome(letter: Letter, sentence: str, *, done: bool = True) -> Outcome:
    return Outcome(letter.id, letter.job_id, done, sentence)


def _print(letters: Sequence[Letter], output: Output) -> None:
    output.table(
        _HEADINGS,
        (
            (
                letter.id,
                letter.queue,
                letter.job_id,
                letter.job_type,
                letter.attempt,
                letter.died_at,
                letter.reason,
            )
            for letter in letters
        ),
    )


def as_json(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "job_id": letter.job_id,
        "job_type": letter.job_type,
        "attempt": letter.attempt,
        "died_at": letter.died_at,
        "bytes": letter.glimpse.length,
        "reason": letter.reason,
        "history": list(letter.history),
    }

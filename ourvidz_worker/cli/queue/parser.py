"""The arguments of `queue` and everything below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ourvidz_worker.cli.commands import CommandParser, Commands, command, group

_JOB = "510111e5-b01b-424c-b699-c5107e0b087b"
_LETTER = "9f2c41d07a3e"
_OF_A_LETTER = "the letter's id in the list, or the job's"


def add_queue(commands: Commands) -> None:
    actions = group(
        commands,
        "queue",
        "look at the queues and act on what was put aside",
        examples=["queue status", f"queue cancel {_JOB}"],
    )
    _action(
        actions,
        "status",
        "status",
        "what waits, who holds it, what was put aside",
        examples=["queue status", "queue status --json"],
    )
    cancel = _action(
        actions,
        "cancel",
        "cancel",
        "stop a job, wherever it is",
        examples=[f"queue cancel {_JOB}"],
        exit_codes={0: "the job is marked; it stops at its next step"},
    )
    cancel.add_argument("job_id", metavar="JOB_ID", help="the job's id")
    _add_dead(actions)
    _add_parked(actions)


def _add_dead(actions: Commands) -> None:
    dead = group(
        actions,
        "dead",
        "jobs that workers gave up, and elements that are no jobs",
        examples=["queue dead list", f"queue dead requeue {_LETTER}"],
    )
    listing = _action(
        dead,
        "dead list",
        "list",
        "every dead letter, newest first",
        examples=["queue dead list", "queue dead list --queue sdxl_queue"],
    )
    show = _action(
        dead,
        "dead show",
        "show",
        "one dead letter with its history and what was queued",
        examples=[f"queue dead show {_LETTER}"],
        exit_codes={1: "there is no such letter, or Redis is out of reach"},
    )
    show.add_argument("id", metavar="ID", help=_OF_A_LETTER)
    requeue = _action(
        dead,
        "dead requeue",
        "requeue",
        "queue the producer's own bytes again",
        examples=[f"queue dead requeue {_LETTER}", "queue dead requeue --all --queue wan_queue"],
        exit_codes={0: "all of them wait again", 1: "one of them stays where it is"},
    )
    _one_or_all(requeue, _OF_A_LETTER)
    requeue.add_argument(
        "--force", action="store_true", help="also a job that is over, has no row, or would be refused again"
    )
    drop = _action(
        dead,
        "dead drop",
        "drop",
        "remove dead letters for good",
        examples=[f"queue dead drop {_LETTER}", "queue dead drop --all --yes"],
        exit_codes={0: "all of them are gone", 1: "one of them stays where it is"},
    )
    _one_or_all(drop, _OF_A_LETTER)
    drop.add_argument("--yes", action="store_true", help="do not ask before --all")
    for action in (listing, show, requeue, drop):
        action.add_argument("--queue", metavar="QUEUE", help="only this queue (default: all)")


def _add_parked(actions: Commands) -> None:
    parked = group(
        actions,
        "parked",
        "finished results that the product refused, kept on this machine",
        examples=["queue parked list", f"queue parked resend {_JOB}"],
    )
    _action(parked, "parked list", "list", "everything parked on this machine", examples=["queue parked list"])
    resend = _action(
        parked,
        "parked resend",
        "resend",
        "upload and report again",
        examples=[f"queue parked resend {_JOB}", "queue parked resend --all"],
        exit_codes={0: "all of them are delivered", 1: "one of them stays parked"},
    )
    drop = _action(
        parked,
        "parked drop",
        "drop",
        "remove parked results for good, their files too",
        examples=[f"queue parked drop {_JOB}", "queue parked drop --all --yes"],
        exit_codes={0: "all of them are gone", 1: "one of them stays parked"},
    )
    drop.add_argument("--yes", action="store_true", help="do not ask before --all")
    for action in (resend, drop):
        _one_or_all(action, "the job's id")


def _action(
    actions: Commands,
    action: str,
    name: str,
    text: str,
    *,
    examples: Sequence[str],
    exit_codes: Mapping[int, str] | None = None,
) -> CommandParser:
    parser = command(actions, name, "queue.command", text, examples=examples, exit_codes=exit_codes)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(action=action)
    return parser


def _one_or_all(parser: CommandParser, text: str) -> None:
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("id", metavar="ID", nargs="?", help=text)
    choice.add_argument("--all", action="store_true", help="all of them")

"""The arguments of `queue` and everything below it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name

_PROGRAM = "ourvidz-worker queue"


def add_queue(commands: Commands) -> None:
    text = "look at the queues and act on what was put aside"
    queue = commands.add_parser("queue", help=text, description=f"{text[:1].upper()}{text[1:]}.")
    actions = _below(queue)
    _action(actions, "status", "status", "what waits, who holds it, what was put aside", "status --json")
    cancel = _action(
        actions, "cancel", "cancel", "stop a job, wherever it is", "cancel 510111e5-b01b-424c-b699-c5107e0b087b"
    )
    cancel.add_argument("job_id", metavar="JOB_ID", help="the job's id")
    _add_dead(actions)
    _add_parked(actions)


def _add_dead(actions: Commands) -> None:
    dead = _below(_group(actions, "dead", "jobs that workers gave up, and elements that are no jobs"))
    listing = _action(dead, "dead list", "list", "every dead letter, newest first", "dead list --queue sdxl_queue")
    show = _action(
        dead, "dead show", "show", "one dead letter with its history and what was queued", "dead show 9f2c41d07a3e"
    )
    show.add_argument("id", metavar="ID", help="the letter's id in the list, or the job's")
    requeue = _action(
        dead, "dead requeue", "requeue", "queue the producer's own bytes again", "dead requeue --all --queue wan_queue"
    )
    _one_or_all(requeue, "the letter's id in the list, or the job's")
    requeue.add_argument(
        "--force", action="store_true", help="also a job that is over, has no row, or would be refused again"
    )
    drop = _action(dead, "dead drop", "drop", "remove dead letters for good", "dead drop 9f2c41d07a3e")
    _one_or_all(drop, "the letter's id in the list, or the job's")
    drop.add_argument("--yes", action="store_true", help="do not ask before --all")
    for action in (listing, show, requeue, drop):
        action.add_argument("--queue", metavar="QUEUE", help="only this queue")


def _add_parked(actions: Commands) -> None:
    parked = _below(_group(actions, "parked", "finished results that the product refused, kept on this machine"))
    _action(parked, "parked list", "list", "everything parked on this machine", "parked list")
    resend = _action(
        parked,
        "parked resend",
        "resend",
        "upload and report again",
        "parked resend 510111e5-b01b-424c-b699-c5107e0b087b",
    )
    _one_or_all(resend, "the job's id")


def _group(actions: Commands, name: str, text: str) -> argparse.ArgumentParser:
    return actions.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")


def _below(parser: argparse.ArgumentParser) -> Commands:
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _action(actions: Commands, action: str, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=f"example: {_PROGRAM} {example}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(module="queue.command", action=action)
    return parser


def _one_or_all(parser: argparse.ArgumentParser, text: str) -> None:
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("id", metavar="ID", nargs="?", help=text)
    choice.add_argument("--all", action="store_true", help="all of them")

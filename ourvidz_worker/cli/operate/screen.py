"""The facts for a terminal of 80 columns or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ourvidz_worker.cli.queue.output import age, size, span

Facts = Mapping[str, Any]
Plain = Callable[[object], str]
"""Escapes what may not steer a terminal, and strikes out secrets."""

_STATES = {"READY": "green", "BUSY": "cyan", "FAILED": "red"}
_PROCESSES = {"FATAL": "given up", "BACKOFF": "restarting", "STOPPING": "stopping", "STOPPED": "stopped"}
_BAR = 18
_SHOWN = 5


def screen_of(facts: Facts, plain: Plain, width: int, *, keys: str = "") -> RenderableType:
    """Everything on one page, what needs a person first."""
    wide = width >= 110
    return Group(
        _headline(facts, keys),
        *(Text(f"  {plain(need)}", style="yellow") for need in facts["needs"]),
        Text(),
        *([_queues(facts["queues"], plain)] if facts["queues"] else []),
        *(part for pod in facts["pods"] for part in _pod(pod, plain, wide=wide)),
        *_put_aside("dead letters", [_letter(letter, plain) for letter in facts["dead"]]),
        *_put_aside("parked results", [_parked(entry, plain) for entry in facts["parked"]]),
        *_put_aside("recent failures", [_failure(group, plain) for group in facts["failures"]]),
    )


def _headline(facts: Facts, keys: str) -> RenderableType:
    verdict = "all is well" if facts["well"] else "needs a person"
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    clock = datetime.fromisoformat(facts["at"]).astimezone().strftime("%H:%M:%S")
    told = Text.assemble((verdict, "bold green" if facts["well"] else "bold yellow"), "  ", (clock, "dim"))
    line.add_row(told, Text(keys, style="dim"))
    return line


def _queues(queues: Sequence[Facts], plain: Plain) -> RenderableType:
    table = _table("queue", "waiting", "oldest", "wait", "per min", "held", "dead", right=range(1, 7))
    for queue in queues:
        held = sum(holder["count"] for holder in queue["held"])
        lapsed = any(not holder["alive"] for holder in queue["held"])
        table.add_row(
            Text(plain(queue["queue"]), style="bold"),
            str(queue["waiting"]),
            _span(queue["oldest_seconds"]),
            _wait(queue["wait_seconds"]),
            f"{queue['completed_per_minute']:.1f}",
            Text(str(held), style="yellow" if lapsed else ""),
            Text(str(queue["dead"]), style="red" if queue["dead"] else ""),
        )
    return table


def _pod(pod: Facts, plain: Plain, *, wide: bool) -> Iterator[RenderableType]:
    up = f"  up {span(pod['uptime_seconds'])}" if pod["uptime_seconds"] is not None else ""
    yield Text()
    yield Text.assemble((plain(pod["address"]), "bold"), (up, "dim"))
    if pod["workers"]:
        yield _workers(pod["workers"], plain, wide=wide)
    for card in pod["cards"]:
        yield _card(card, plain)


def _workers(workers: Sequence[Facts], plain: Plain, *, wide: bool) -> RenderableType:
    further = ("kind", "device", "pid") if wide else ()
    table = _table("worker", "state", "up", "restarts", "done", "failed", *further, right=range(2, 6))
    lines: list[RenderableType] = []
    for worker in workers:
        state = _PROCESSES.get(worker["process"] or "") or worker["state"].lower()
        outcomes = worker["outcomes"]
        failed = outcomes.get("failed", 0) + outcomes.get("dead", 0)
        table.add_row(
            Text(plain(worker["name"]), style="bold"),
            Text(plain(state), style=_STATES.get(worker["state"], "yellow")),
            _span(worker["uptime_seconds"]),
            Text(str(worker["restarts"]), style="yellow" if worker["restarts"] else ""),
            str(outcomes.get("completed", 0)),
            str(failed),
            *(plain(worker[name]) for name in further),
        )
        if worker["reason"]:
            lines.append(Text(f"  {plain(worker['name'])}: {plain(worker['reason'])}", style="yellow"))
        lines += [_job(worker, job, plain) for job in worker["jobs"]]
    return Group(table, *lines)


def _job(worker: Facts, job: Facts, plain: Plain) -> RenderableType:
    steps = f"{job['step']}/{job['steps']}" if job["steps"] else ""
    attempt = f"attempt {job['attempt']}" if job["attempt"] > 1 else ""
    line = Table.grid(padding=(0, 1))
    line.add_row(
        Text(f"  {plain(worker['name'])}", style="dim"),
        plain(job["type"]),
        ProgressBar(total=max(1, job["steps"]), completed=job["step"], width=_BAR),
        steps,
        Text(plain(job["phase"]), style="dim"),
        _span(job["seconds"]),
        Text(attempt, style="yellow"),
    )
    return line


def _card(card: Facts, plain: Plain) -> RenderableType:
    used, total = card["used_gb"], card["total_gb"]
    known = used is not None and total is not None
    sum_of = f"{used:.1f} of {total:.1f} GB, {card['free_gb']:.1f} free" if known else f"{card['held_gb']:.1f} GB held"
    holders = ", ".join(
        f"{plain(holder['worker'])}/{plain(holder['component'])} {holder['gb']:.1f}"
        + ("" if holder["in_use"] else " idle")
        for holder in card["holders"]
    )
    return Text.assemble(
        (f"card {plain(card['device'])}  ", "bold"), sum_of, (f"  {holders}" if holders else "", "dim")
    )


def _letter(letter: Facts, plain: Plain) -> tuple[str, str, str]:
    what = f"{plain(letter['job_type'] or 'no job that could run')}, job {plain(letter['job_id'])}"
    return letter["id"], what, f"{plain(letter['reason'])} ({_ago(letter['died_at'])})"


def _parked(entry: Facts, plain: Plain) -> tuple[str, str, str]:
    what = f"{plain(entry['report'])}, {size(entry['bytes'])}"
    return plain(entry["job_id"]), what, f"{plain(entry['reason'])} ({_ago(entry['since'])})"


def _failure(group: Facts, plain: Plain) -> tuple[str, str, str]:
    what = f"{plain(group['job_type'])} {plain(group['error_type'])}"
    return f"{group['count']} x", what, f"{plain(group['last_reason'])} ({_ago(group['last_at'])})"


def _put_aside(title: str, rows: Sequence[tuple[str, str, str]]) -> Iterator[RenderableType]:
    if not rows:
        return
    yield Text()
    yield Text(title, style="bold")
    for name, what, why in rows[:_SHOWN]:
        yield Text.assemble((f"{name}  ", "cyan"), what)
        yield Text(f"  {why}", style="dim")
    if len(rows) > _SHOWN:
        yield Text(f"… and {len(rows) - _SHOWN} more", style="dim")


def _table(*headings: str, right: range) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number in right else "left", no_wrap=True)
    return table


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else span(seconds)


def _wait(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"~{span(seconds)}" if seconds else "none"


def _ago(moment: str | None) -> str:
    try:
        told = age(None if moment is None else datetime.fromisoformat(moment))
    except (ValueError, TypeError):  # an operator's tool may have written the letter
        told = None
    return f"{told} ago" if told else "at an unknown time"

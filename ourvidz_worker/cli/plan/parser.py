"""The arguments of `plan`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from ourvidz_worker.cli.commands import Commands, command

_MIX = "sdxl_image_fast=70,video_fast=30"


def add_plan(commands: Commands) -> None:
    plan = command(
        commands,
        "plan",
        "plan.command",
        "say how many pods of which card a load needs, and what a job costs",
        examples=[
            f"plan --jobs-per-hour 200 --mix {_MIX}",
            f"plan --jobs-per-hour 200 --mix {_MIX} --card l40s,h100 --wait 30 --json",
            "plan --jobs-per-hour 60 --mix video_fast=1 --card l40s --measured metrics.txt",
        ],
        exit_codes={0: "the load has an answer", 1: "no card can do it"},
    )
    plan.add_argument(
        "--jobs-per-hour", metavar="NUMBER", type=_more_than(0), required=True, help="in the busiest hour, all types"
    )
    plan.add_argument(
        "--mix",
        metavar="TYPE=SHARE,…",
        type=_mix,
        required=True,
        help=f"job types and their shares, in any unit, like {_MIX}",
    )
    plan.add_argument("--card", metavar="CARD,…", type=_names, default=(), help="cards of cards.toml (default: all)")
    plan.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_more_than(0),
        default=120.0,
        help="longest wait of 95 of 100 jobs (default 120)",
    )
    plan.add_argument(
        "--utilisation",
        metavar="SHARE",
        type=_share,
        default=0.8,
        help="of its time that a card may be at work, at most (default 0.8)",
    )
    plan.add_argument(
        "--images", metavar="N", type=int, choices=(1, 3, 6), default=1, help="images of a job of SDXL (default 1)"
    )
    plan.add_argument(
        "--measured",
        metavar="FILE",
        type=Path,
        help="what a worker's /metrics answered; its seconds replace the catalogue's for the --card it ran on",
    )
    plan.add_argument("--json", action="store_true", help="print JSON")


def _mix(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, share = (piece.strip() for piece in part.partition("="))
        if name in shares:
            raise argparse.ArgumentTypeError(f"{name} is named twice")
        shares[name] = _number(share, f"the share of {name}")
        if not shares[name] > 0:
            raise argparse.ArgumentTypeError(f"the share of {name} must be more than 0, got {share!r}")
    if not shares:
        raise argparse.ArgumentTypeError(f"must name job types and shares, like {_MIX}")
    return shares


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("must name a card, like l40s")
    return names


def _more_than(low: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        found = _number(text, "it")
        if not found > low:
            raise argparse.ArgumentTypeError(f"must be more than {low:g}, got {text!r}")
        return found

    return number


def _share(text: str) -> float:
    share = _number(text, "it")
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, got {text!r}")
    return share


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{what} must be a number, got {text!r}")
    return number

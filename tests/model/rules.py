"""Each rule of the protocol with a way to switch it off in the real code, and what must be noticed then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from ourvidz_worker.backend.queue import redis_queue
from ourvidz_worker.backend.supabase.job_rows import SupabaseJobRows
from ourvidz_worker.contract.envelope import Delivery
from ourvidz_worker.ports import Claim, Renewal
from ourvidz_worker.runtime.holdings import Holdings
from ourvidz_worker.runtime.lease import LeaseKeeper, LeaseTimes
from ourvidz_worker.runtime.spool import Spool
from tests.model.climate import CALM, CLIMATES, Climate
from tests.model.far_side import CALLBACK_PATH
from tests.model.network import Fate
from tests.model.oracle import AGAIN, AT_ONCE, CHANGED, NOT_HELD, SET_BACK, TOO_OFTEN, UNFINISHED


@dataclass(frozen=True, slots=True)
class Rule:
    """`without` switches it off; in a `climate` where it matters one of the promises `broken` must be seen."""

    name: str
    without: Callable[[], AbstractContextManager[Any]]
    broken: frozenset[str]
    climate: Climate


def _script(name: str, line: str, replacement: str) -> AbstractContextManager[Any]:
    """A script with one of its lines changed."""
    text: str = getattr(redis_queue, name)
    assert text.count(line) == 1, f"{name} has changed: {line!r} is not there"
    return mock.patch.object(redis_queue, name, text.replace(line, replacement))


def _lease_before_claim() -> AbstractContextManager[Any]:
    return _script("_CLAIM", 'redis.call("SET", KEYS[1], ARGV[1], "EX", ARGV[2])', "")


def _reapers_lease_check() -> AbstractContextManager[Any]:
    return _script("_MOVE", 'KEYS[3] and redis.call("EXISTS", KEYS[3]) == 1', "false")


@contextmanager
def _self_fence() -> Iterator[None]:
    heed = LeaseKeeper._heed

    def undaunted(keeper: LeaseKeeper, renewal: Renewal, sent_at: float) -> None:
        heed(keeper, replace(renewal, alive=True), sent_at)

    with (
        mock.patch.object(LeaseTimes, "fence", property(lambda _times: 1e9)),
        mock.patch.object(LeaseKeeper, "_heed", undaunted),
    ):
        yield


@contextmanager
def _held_look_up() -> Iterator[None]:
    async def unseen(holdings: Holdings) -> None:
        holdings.answer_lost = False

    def known(holdings: Holdings, claim: Claim) -> Any:
        return claim

    with mock.patch.object(Holdings, "look_up", unseen), mock.patch.object(Holdings, "_known", known):
        yield


def _charged_attempts() -> AbstractContextManager[Any]:
    again = Delivery.again

    def free(delivery: Delivery, reason: str, *, charged: bool) -> str:
        return again(delivery, reason, charged=False)

    return mock.patch.object(Delivery, "again", free)


def _spool_look() -> AbstractContextManager[Any]:
    return mock.patch.object(Spool, "find", return_value=None)


def _row_look() -> AbstractContextManager[Any]:
    return mock.patch.object(SupabaseJobRows, "status", mock.AsyncMock(return_value="queued"))


def _mark_of_a_start() -> AbstractContextManager[Any]:
    begun = Delivery.begun
    return mock.patch.object(Delivery, "begun", lambda delivery, _mark: begun(delivery, "0"))


def _guarded_repeats() -> AbstractContextManager[Any]:
    return mock.patch.object(LeaseKeeper, "sleep", lambda _keeper, seconds: asyncio.sleep(seconds))


RULES = (
    Rule("lease before claim", _lease_before_claim, frozenset({UNFINISHED}), replace(CALM, jobs=(1, 2))),
    Rule(
        "self-fence",
        _self_fence,
        frozenset({NOT_HELD, AT_ONCE}),
        replace(CALM, jobs=(6, 9), blows=(8, 12), kinds=("pause",), pods=(2, 3)),
    ),
    Rule("the reaper's lease check", _reapers_lease_check, frozenset({NOT_HELD, AT_ONCE}), CALM),
    Rule(
        "held look-up",
        _held_look_up,
        frozenset({UNFINISHED}),
        replace(CALM, pods=(1, 1), jobs=(6, 8), unlucky=(0.2,), fates=(Fate.BROKEN, Fate.SILENT)),
    ),
    Rule("charged attempts", _charged_attempts, frozenset({TOO_OFTEN}), replace(CALM, poison=0.5)),
    Rule(
        "look into the spool",
        _spool_look,
        frozenset({AGAIN}),
        replace(CALM, hazard=(0.02,), kinds=("kill",), jobs=(6, 8)),
    ),
    Rule(
        "look at the row",
        _row_look,
        frozenset({SET_BACK, CHANGED}),
        replace(CALM, hazard=(0.02,), kinds=("kill",), jobs=(6, 8), shared_spool=0),
    ),
    Rule(
        "a mark for each start",
        _mark_of_a_start,
        frozenset({NOT_HELD, AT_ONCE, SET_BACK}),
        replace(CLIMATES["late starts"], unlucky=(0.7,), poison=0),
    ),
    Rule(
        "no repeat without the lease",
        _guarded_repeats,
        frozenset({NOT_HELD, SET_BACK}),
        replace(
            CALM,
            jobs=(6, 9),
            unlucky=(0.6,),
            hazard=(0.2,),
            kinds=("pause",),
            pause_seconds=(60, 150),
            victims=(CALLBACK_PATH,),
        ),
    ),
)

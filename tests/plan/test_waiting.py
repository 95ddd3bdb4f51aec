"""Erlang's formula, and what follows from it for any load."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.cli.plan.waiting import MOST_SERVERS, Demand, _chances_to_wait, servers_needed, wait_of

LOADS = st.floats(0.001, 200.0)
DEMANDS = st.builds(
    Demand, rate=st.floats(1e-4, 2.0), seconds=st.floats(1.0, 240.0), variation=st.floats(0.0, 8.0)
).filter(lambda demand: demand.load < 400)
WAITS = st.floats(0.5, 600.0)
SHARES = st.floats(0.1, 0.95)


def by_the_book(servers: int, load: float) -> float:
    """Erlang C as it is written, with its powers and factorials."""
    queued = load**servers / math.factorial(servers) * servers / (servers - load)
    return queued / (sum(load**n / math.factorial(n) for n in range(servers)) + queued)


@given(load=st.floats(0.01, 60.0), more=st.integers(1, 20))
def test_the_chance_to_wait_is_erlang_s(load: float, more: int) -> None:
    servers = math.ceil(load) + more
    found = dict(zip(range(servers), (chance for _, chance in _chances_to_wait(load)), strict=False))
    assert found[servers - 1] == pytest.approx(by_the_book(servers, load), rel=1e-9)


def test_known_values() -> None:
    """One server is busy for the share of its time that it works; two at a load of one erlang, in a third of cases."""
    (_, one), (_, two) = next(_chances_to_wait(0.6)), list(zip(_chances_to_wait(1.0), range(2), strict=False))[1][0]
    assert one == pytest.approx(0.6)
    assert two == pytest.approx(1 / 3)


def test_the_95th_percentile_of_one_server() -> None:
    """M/M/1: the wait exceeds t with the chance rho e^(-(mu - lambda) t)."""
    demand = Demand(rate=0.05, seconds=10.0, variation=1.0)
    wait = wait_of(demand, 1, 0.5)
    assert 0.5 * math.exp(-(0.1 - 0.05) * wait) == pytest.approx(0.05)
    assert wait_of(demand, 1, 0.04) == 0.0


@given(DEMANDS, WAITS, SHARES)
def test_what_is_found_keeps_both_promises_and_one_less_would_not(
    demand: Demand, longest_wait: float, utilisation: float
) -> None:
    found = servers_needed(demand, longest_wait=longest_wait, utilisation=utilisation)
    assert found is not None
    servers, wait = found
    assert wait <= longest_wait
    assert demand.load <= utilisation * servers
    chances = dict(zip(range(1, servers + 1), (chance for _, chance in _chances_to_wait(demand.load)), strict=False))
    fewer = servers - 1
    if fewer and demand.load <= utilisation * fewer:
        assert wait_of(demand, fewer, chances[fewer]) > longest_wait


@given(DEMANDS, WAITS, SHARES, st.floats(1.0, 5.0))
def test_more_of_anything_never_needs_fewer(
    demand: Demand, longest_wait: float, utilisation: float, factor: float
) -> None:
    def needed(demand: Demand, wait: float = longest_wait) -> int:
        found = servers_needed(demand, longest_wait=wait, utilisation=utilisation)
        assert found is not None
        return found[0]

    least = needed(demand)
    assert needed(Demand(demand.rate * factor, demand.seconds, demand.variation)) >= least
    assert needed(Demand(demand.rate, demand.seconds * factor, demand.variation)) >= least
    assert needed(Demand(demand.rate, demand.seconds, demand.variation * factor)) >= least
    assert needed(demand, longest_wait / factor) >= least


def test_there_is_an_end_to_counting() -> None:
    assert servers_needed(Demand(1e9, 100.0, 0.0), longest_wait=10, utilisation=0.8) is None
    found = servers_needed(Demand(MOST_SERVERS * 0.005, 100.0, 0.0), longest_wait=10, utilisation=0.8)
    assert found is not None

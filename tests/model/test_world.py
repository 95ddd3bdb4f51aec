from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from random import Random

import httpx
import pytest

from tests.model.network import Call, Client, Fate, Network
from tests.model.world import Process, World

Journal = list[tuple[float, str]]


@pytest.fixture
def world() -> Iterator[World]:
    world = World(Random(1))
    yield world
    world.discard()


async def _work(journal: Journal, process: Process) -> int:
    try:
        for step in range(3):
            await asyncio.sleep(10)
            journal.append((round(process.loop.time()), f"step {step}"))
    finally:
        journal.append((round(process.loop.time()), "the end"))
    return 3


def _advance_to(world: World, seconds: float) -> None:
    reached: list[bool] = []
    world.after(seconds - world.now, lambda: reached.append(True))
    while not reached:
        world.advance()


def test_time_passes_only_by_waiting(world: World) -> None:
    journal: Journal = []
    process = world.start("one", partial(_work, journal))
    _advance_to(world, 31)
    assert journal == [(10, "step 0"), (20, "step 1"), (30, "step 2"), (30, "the end")]
    assert process.exit_code == 3


def test_a_killed_process_runs_nothing_more_not_even_finally(world: World) -> None:
    journal: Journal = []
    process = world.start("one", partial(_work, journal))
    world.after(15, process.kill)
    _advance_to(world, 100)
    assert journal == [(10, "step 0")]
    assert process.exit_code == -9


def test_a_paused_process_finds_its_clock_far_ahead(world: World) -> None:
    journal: Journal = []
    process = world.start("one", partial(_work, journal))
    world.after(15, lambda: process.pause(60))
    _advance_to(world, 100)
    assert journal == [(10, "step 0"), (75, "step 1"), (85, "step 2"), (85, "the end")]


@pytest.mark.parametrize(
    ("fate", "heard", "executed"),
    [
        (Fate.GOOD, "200", 1),
        (Fate.SLOW, "200", 1),
        (Fate.REFUSED, "ReadError", 0),
        (Fate.LOST, "TimeoutError", 0),
        (Fate.BROKEN, "ReadError", 1),
        (Fate.SILENT, "TimeoutError", 1),
        (Fate.BAD_GATEWAY, "502", 1),
        (Fate.LATE_BROKEN, "ReadError", 1),
    ],
)
def test_what_becomes_of_a_request(world: World, fate: Fate, heard: str, executed: int) -> None:
    served: list[Call] = []
    said: list[str] = []

    def serve(call: Call) -> httpx.Response:
        served.append(call)
        return httpx.Response(200, json={})

    network = Network(
        world, serve=serve, fate_of=lambda _call: fate, watch=lambda _call: None, passing=lambda _call: None
    )

    async def ask(_process: Process) -> int:
        try:
            async with asyncio.timeout(10):
                said.append(str((await Client(network).post("https://far.model/")).status_code))
        except (TimeoutError, httpx.HTTPError) as error:
            said.append(type(error).__name__)
        return 0

    world.start("one", ask)
    _advance_to(world, 120)
    assert said == [heard]
    assert len(served) == executed
    assert network.under_way == 0


def test_a_late_request_is_carried_out_although_its_sender_is_dead(world: World) -> None:
    served: list[float] = []

    def serve(_call: Call) -> httpx.Response:
        served.append(world.now)
        return httpx.Response(200)

    network = Network(
        world, serve=serve, fate_of=lambda _call: Fate.LATE, watch=lambda _call: None, passing=lambda _call: None
    )

    async def ask(_process: Process) -> int:
        await Client(network).post("https://far.model/")
        return 0

    process = world.start("one", ask)
    world.after(1, process.kill)
    _advance_to(world, 120)
    (when,) = served
    assert when > 1

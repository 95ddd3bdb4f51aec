"""Real processes on one card of declared size: told what to evict, granted room, stopped, killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import structlog

from ourvidz_worker.control import Instruction, Message
from ourvidz_worker.supervisor import status as status_module
from ourvidz_worker.supervisor.broker import Broker
from ourvidz_worker.supervisor.child import Child
from ourvidz_worker.supervisor.status import Status
from tests.supervisor.stage import child_of, supervised
from tests.support.stories import story
from tests.support.waiting import eventually

GB = 10**9

# A worker with weights of declared sizes; the names of what others evicted for it are the outcome of its job.
WORKER = """
import os, signal, time
from ourvidz_worker.control import Message, WorkerState
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.workspace import Workspace
from ourvidz_worker.errors import OutOfMemory
from ourvidz_worker.runtime.card_line import CardLine
from ourvidz_worker.runtime.control_channel import ControlChannel
from tests.residency.declared import GB, DeclaredWeights

channel = ControlChannel(int(os.environ["OURVIDZ_CONTROL_FD"]))
line = CardLine(channel, answer_seconds=30.0)
residency = Residency(20 * GB, neighbours=line)
line.serve(residency)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

def add(name, gigabytes, rank):
    residency.add(name, DeclaredWeights(gigabytes), rank=rank)

def work(name, gigabytes):
    return residency.stage("work", needs=[name], workspace=Workspace("work", (), gigabytes * GB))

def ready():
    channel.announce(Message("state", state=WorkerState.READY))

def done(status):
    channel.announce(Message("done", job_id="job-1", status=status))

def serve():
    while True:
        signal.pause()
"""
QWEN = 'add("qwen", 12, Rank.LANGUAGE); ready(); serve()'


def worker(name: str, script: str, broker: Broker, **environment: str) -> Child:
    child = child_of("", name=name, argv=(sys.executable, "-c", WORKER + script), environment=environment)
    child._broker = broker
    return child


@asynccontextmanager
async def sharing(*children: Child) -> AsyncIterator[None]:
    """One starts after the other is ready."""
    async with AsyncExitStack() as running:
        for child in children:
            await running.enter_async_context(supervised(child))
            await child.settled.wait()
        yield


@story
async def test_what_is_idle_in_one_process_makes_room_in_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(status_module, "visible_cards", lambda: ())
    broker = Broker(20 * GB)
    qwen = worker("qwen", QWEN, broker)
    wan = worker("wan", 'add("dit", 3, Rank.CORE); ready()\nwith work("dit", 6): done("drawn"); serve()', broker)
    with structlog.testing.capture_logs() as logs:
        async with sharing(qwen, wan):
            await eventually(lambda: wan.view.outcomes, "the stage")
            status = Status(tmp_path / "status.json")
            status.of([qwen, wan])
            await eventually(lambda: wan.view.card_bytes == 9 * GB, "the word about the workspace")
            status.log()
            status.write()
    card = json.loads((tmp_path / "status.json").read_text())["workers"]
    assert card["qwen"]["card"] == {"gb": 0.0, "components": []}
    assert card["wan"]["card"] == {"gb": 9.0, "components": [{"name": "dit", "gb": 3.0, "in_use": True}]}
    assert next(line["card"] for line in logs if line["event"] == "status") == {"qwen": {}, "wan": {"dit": 3.0}}
    shared = [line for line in logs if line["event"] == "card_shared"]
    assert [(line["worker"], line["instruction"], line["components"]) for line in shared] == [
        ("qwen", "yield", ("qwen",)),
        ("wan", "granted", ("qwen/qwen",)),
    ]


@story
async def test_two_that_ask_at_once_both_go_on() -> None:
    """Each holds what the other needs, and both wait for an answer while they are asked to give back."""
    broker = Broker(20 * GB)
    script = """
add("adapter", 7, Rank.ADAPTER); add("unet", 2, Rank.CORE); ready()
for _ in range(20):
    with work("unet", 10): pass
    with work("adapter", 1): pass
done("drawn"); serve()
"""
    sdxl, wan = (worker(name, script, broker) for name in ("sdxl", "wan"))
    async with sharing(sdxl, wan):
        await eventually(lambda: sdxl.view.outcomes and wan.view.outcomes, "the last stage of both")
        assert (sdxl.view.outcomes, wan.view.outcomes) == ({"drawn": 1}, {"drawn": 1})


@story
async def test_a_process_that_does_not_answer_is_passed_over(tmp_path: Path) -> None:
    broker = Broker(20 * GB, patience_seconds=0.1)
    qwen = worker("qwen", QWEN, broker)
    script = """
add("dit", 3, Rank.CORE); ready()
while not os.path.exists(os.environ["GO"]): time.sleep(0.01)
try:
    with work("dit", 6): done("drawn")
except OutOfMemory: done("refused")
serve()
"""
    go = tmp_path / "go"
    wan = worker("wan", script, broker, GO=str(go))
    async with sharing(qwen, wan):
        assert qwen.pid is not None
        stat = Path(f"/proc/{qwen.pid}/stat")
        os.kill(qwen.pid, signal.SIGSTOP)
        try:
            # The thread that listens goes on until another one has been given time to take the signal.
            await eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the stop")
            go.touch()
            await eventually(lambda: wan.view.outcomes, "the answer without it")
            assert wan.view.outcomes == {"refused": 1}, "what it holds is not given away"
        finally:
            os.kill(qwen.pid, signal.SIGCONT)


@story
async def test_what_a_killed_process_held_is_free(tmp_path: Path) -> None:
    broker = Broker(20 * GB, patience_seconds=1000.0)
    busy = """
if os.path.exists(os.environ["LIVED"]): ready(); serve()
open(os.environ["LIVED"], "w").close()
add("qwen", 12, Rank.LANGUAGE)
with work("qwen", 0): ready(); serve()
"""
    qwen = worker("qwen", busy, broker, LIVED=str(tmp_path / "lived"))
    wan = worker("wan", 'add("dit", 3, Rank.CORE); ready()\nwith work("dit", 6): done("drawn"); serve()', broker)
    async with sharing(qwen, wan):
        assert qwen.pid is not None
        await eventually(lambda: broker._arbitration.deadline, "the request")
        assert not wan.view.outcomes
        os.kill(qwen.pid, signal.SIGKILL)
        await eventually(lambda: wan.view.outcomes, "the stage")


@story
async def test_a_request_that_nobody_can_meet_is_answered_by_the_clock() -> None:
    broker = Broker(20, patience_seconds=0.01)
    heard: list[Instruction] = []
    broker.joined("sdxl", heard.append)
    broker.joined("wan", lambda _: None)
    broker.heard("wan", Message("card", bytes=15, held=()))
    broker.heard("sdxl", Message("room", request=1, bytes=10))
    await eventually(lambda: heard, "the answer")
    assert [(instruction.kind, instruction.bytes) for instruction in heard] == [("granted", 5)]

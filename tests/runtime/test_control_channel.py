"""The wire between worker and supervisor: JSON lines over a socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from ourvidz_worker.control import Message, WorkerState, decode_message, encode_message
from ourvidz_worker.runtime.control_channel import ControlChannel

MESSAGES = [
    Message("state", state=WorkerState.READY),
    Message("poll", waiting=0),
    Message("started", job_id="job-1", job_type="video_fast", attempt=2),
    Message("phase", job_id="job-1", phase="encoding"),
    Message("step", job_id="job-1", step=3, steps=25),
    Message("done", job_id="job-1", status="failed", seconds=1.5, reason="line one\nline two \u2028 é"),
]


@pytest.fixture
def ends() -> Iterator[tuple[ControlChannel, socket.socket]]:
    theirs, ours = socket.socketpair()
    channel = ControlChannel(theirs.detach())
    ours.settimeout(5.0)
    with ours:
        yield channel, ours
    channel.socket.close()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_a_message_is_one_line_and_comes_back_as_it_was(message: Message) -> None:
    line = encode_message(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_message(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"hello",
        b"null",
        b"5",
        b"[]",
        b"[1,2]",
        b'"state"',
        b"{}",
        b'{"kind":"state","state":"SLEEPING"}',
        b'{"kind":"state","state":["READY"]}',
        b'{"kind":"done","job_id":{},"status":"completed"}',
        b'{"kind":"done","job_id":"a","status":["completed"]}',
        b'{"kind":"poll","unknown":1}',
        b'{"kind":"poll","waiting":',
        b"\xff\xfe",
        b"[" * 60_000,
    ],
    ids=lambda line: repr(line[:30]),
)
def test_garbage_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_message(line)


def test_announcements_arrive_in_order(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    for message in MESSAGES:
        channel.announce(message)
    channel.socket.close()
    with ours.makefile("rb") as lines:
        assert [decode_message(line) for line in lines] == MESSAGES


def test_announcements_of_several_threads_are_not_torn(ends: tuple[ControlChannel, socket.socket]) -> None:
    """Steps come from the generation thread, phases from the event loop."""
    channel, ours = ends
    together = threading.Barrier(4)

    def announce(job_id: str) -> None:
        together.wait(5.0)
        for step in range(200):
            channel.announce(Message("step", job_id=job_id, step=step, steps=200))

    threads = [threading.Thread(target=announce, args=(f"job-{number}" * 20,)) for number in range(4)]
    with ours.makefile("rb") as lines:
        for thread in threads:
            thread.start()
        heard = [json.loads(lines.readline())["step"] for _ in range(800)]
        for thread in threads:
            thread.join(5.0)
    assert sorted(heard) == sorted([*range(200)] * 4)


def test_a_supervisor_that_is_gone_costs_nothing(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    ours.close()
    for _ in range(3):
        channel.announce(Message("poll", waiting=1))


def test_after_half_a_line_nothing_more_is_said(
    ends: tuple[ControlChannel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that does not read: the line that did not fit stays the last one."""
    channel, ours = ends
    channel.socket.settimeout(0.01)
    long = Message("done", job_id="job-1", status="failed", reason="x" * 4_000_000)
    channel.announce(long)
    channel.announce(Message("poll", waiting=1))
    with ours.makefile("rb") as lines:
        said = lines.read()
    assert 0 < len(said) < len(encode_message(long))
    assert encode_message(long).startswith(said)

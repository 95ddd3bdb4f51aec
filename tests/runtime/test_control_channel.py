"""The wire between worker and supervisor: JSON lines over a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ourvidz_worker.control import LONGEST_REASON, Message, WorkerState, decode_message, encode_message
from ourvidz_worker.runtime.control_channel import MOST_UNSENT, ControlChannel

MESSAGES = [
    Message("alive"),
    Message("state", state=WorkerState.READY),
    Message("poll", waiting=0),
    Message("started", job_id="job-1", job_type="video_fast", attempt=2),
    Message("phase", job_id="job-1", phase="encoding"),
    Message("step", job_id="job-1", step=3, steps=25),
    Message("preview", job_id="job-1", picture="UklGRg=="),
    Message("done", job_id="job-1", status="failed", seconds=1.5, reason="line one\nline two \u2028 é"),
    Message("fenced", reason="the lease was not confirmed for 60 s"),
]


@pytest.fixture
def ends() -> Iterator[tuple[ControlChannel, socket.socket]]:
    """The worker's channel and the supervisor's socket."""
    theirs, ours = socket.socketpair()
    channel = ControlChannel(theirs.detach())
    ours.settimeout(5.0)
    with ours, channel._socket:
        yield channel, ours


def hear(channel: ControlChannel, ours: socket.socket, *, dones: int) -> list[Message]:
    """All but the signs of life, up to so many `done`; these signs bring along what had no room, as in a worker."""
    heard: list[Message] = []

    def read() -> None:
        with ours.makefile("rb") as lines:
            while len([message for message in heard if message.kind == "done"]) < dones:
                heard.append(decode_message(lines.readline()))

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive():
        channel.announce(Message("alive"))
        reader.join(0.01)
    return [message for message in heard if message.kind != "alive"]


def fill(channel: ControlChannel) -> int:
    """Announce until the supervisor, which does not read, has no room left; returns how many went out whole."""
    sent = 0
    while not channel._unsent and not channel._rest:
        channel.announce(Message("phase", job_id=f"filling-{sent}", phase="x" * 100))
        sent += 1
    return sent


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


def test_a_long_reason_is_cut_so_that_the_line_can_be_read() -> None:
    """A supervisor that could not read `done` would take the job for a stuck one."""
    message = decode_message(encode_message(Message("done", job_id="job-1", status="failed", reason="é" * 4_000_000)))
    assert message.reason == "é" * LONGEST_REASON


def test_announcements_arrive_in_order(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    for message in MESSAGES:
        channel.announce(message)
    with ours.makefile("rb") as lines:
        assert [decode_message(lines.readline()) for _ in MESSAGES] == MESSAGES


def test_announcements_of_several_threads_are_not_torn(ends: tuple[ControlChannel, socket.socket]) -> None:
    """Steps come from the generation thread, phases from the event loop."""
    channel, ours = ends
    together = threading.Barrier(4)

    def announce(job_id: str) -> None:
        together.wait(5.0)
        for number in range(200):
            channel.announce(Message("done", job_id=job_id, seconds=number))

    job_ids = [f"job-{number}" * 20 for number in range(4)]
    threads = [threading.Thread(target=announce, args=(job_id,)) for job_id in job_ids]
    for thread in threads:
        thread.start()
    heard = hear(channel, ours, dones=800)
    for thread in threads:
        thread.join(5.0)
    for job_id in job_ids:
        assert [message.seconds for message in heard if message.job_id == job_id] == [*range(200)]


def test_a_supervisor_that_is_gone_costs_nothing(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    ours.close()
    for _ in range(3):
        channel.announce(Message("poll", waiting=1))


def test_a_supervisor_that_does_not_read_holds_nobody_up_and_hears_all_that_counts_later(
    ends: tuple[ControlChannel, socket.socket],
) -> None:
    channel, ours = ends
    sent = fill(channel)
    for number in range(100):
        job_id = f"job-{number}"
        channel.announce(Message("state", state=WorkerState.BUSY))
        channel.announce(Message("started", job_id=job_id, job_type="video_fast", attempt=1))
        for step in range(1, 26):
            channel.announce(Message("step", job_id=job_id, step=step, steps=25))
            channel.announce(Message("alive"))
        channel.announce(Message("done", job_id=job_id, status="completed"))
    later = hear(channel, ours, dones=100)[sent:]
    assert later[:4] == [
        Message("state", state=WorkerState.BUSY),
        Message("started", job_id="job-0", job_type="video_fast", attempt=1),
        Message("step", job_id="job-0", step=25, steps=25),
        Message("done", job_id="job-0", status="completed"),
    ]
    assert len([message for message in later if message.kind == "done"]) == 100


def test_in_a_long_silence_only_what_counts_is_kept(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, _ = ends
    fill(channel)
    for number in range(MOST_UNSENT):
        channel.announce(Message("started", job_id=f"job-{number}"))
    kept = len(channel._unsent)
    assert kept == MOST_UNSENT
    lost = [
        Message("started", job_id="late"),
        Message("phase", job_id="late", phase="generating"),
        Message("step", job_id="late", step=1, steps=2),
        Message("poll", waiting=3),
    ]
    told = [
        Message("done", job_id="late", status="completed"),
        Message("state", state=WorkerState.FAILED),
        Message("fenced", reason="cut off"),
    ]
    for message in (*lost, *told):
        channel.announce(message)
    assert list(channel._unsent)[kept:] == told


def test_a_line_that_went_out_by_half_is_continued(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    message = Message("done", job_id="x" * 4_000_000, status="completed")
    channel.announce(message)
    assert channel._rest, "it cannot have fitted"
    last = Message("poll", waiting=1)
    channel.announce(last)
    said = b""
    while not said.endswith(encode_message(last)):
        said += ours.recv(1 << 20)
        channel.announce(Message("alive"))
    assert said.startswith(encode_message(message) + encode_message(last))


def test_the_loss_of_the_supervisor_is_noticed(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    gone = threading.Event()
    channel.when_gone(gone.set)
    channel.announce(Message("alive"))
    ours.recv(100)
    assert not gone.is_set()
    ours.close()
    assert gone.wait(5.0)


def test_a_supervisor_that_was_gone_before_is_noticed_too(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    ours.close()
    gone = threading.Event()
    channel.when_gone(gone.set)
    assert gone.wait(5.0)


def test_a_process_of_the_workers_own_does_not_inherit_the_line(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, _ = ends
    assert not channel._socket.get_inheritable()


def test_of_what_a_job_looked_like_meanwhile_only_the_last_is_told(ends: tuple[ControlChannel, socket.socket]) -> None:
    channel, ours = ends
    fill(channel)
    for name in ("over", "running"):
        channel.announce(Message("started", job_id=name, job_type="video_fast", attempt=1))
        for step in range(1, 10):
            channel.announce(Message("step", job_id=name, step=step, steps=25))
            channel.announce(Message("preview", job_id=name, picture=f"picture {step}"))
    channel.announce(Message("done", job_id="over", status="completed"))
    channel.announce(Message("done", job_id="last", status="completed"))
    assert [(message.kind, message.job_id, message.step) for message in channel._unsent] == [
        ("started", "over", None),
        ("step", "over", 9),
        ("started", "running", None),
        ("step", "running", 9),
        ("done", "over", None),
        ("done", "last", None),
    ]
    assert channel._previews == {"running": Message("preview", job_id="running", picture="picture 9")}
    hear(channel, ours, dones=2)
    assert channel._previews == {}

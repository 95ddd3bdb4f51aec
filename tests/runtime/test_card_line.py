"""The worker's part in sharing the card, over a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import pytest

from ourvidz_worker.control import (
    Held,
    Instruction,
    Message,
    decode_instruction,
    decode_message,
    encode_instruction,
    encode_message,
)
from ourvidz_worker.runtime.card_line import CardLine
from ourvidz_worker.runtime.control_channel import ControlChannel
from tests.support.waiting import wait_until


class Sharer:
    """Holds 7 bytes whatever is asked of it."""

    def __init__(self) -> None:
        self.asked_for: list[Sequence[str]] = []
        self.allowed: list[int] = []

    def give_back(self, components: Sequence[str]) -> int:
        self.asked_for.append(components)
        return 7

    def allow(self, allowed_bytes: int) -> None:
        self.allowed.append(allowed_bytes)


class Supervisor:
    def __init__(self, ours: socket.socket, lines: IO[bytes]) -> None:
        self._ours = ours
        self._lines = lines

    def hear(self) -> Message:
        return decode_message(self._lines.readline())

    def say(self, instruction: Instruction) -> None:
        self._ours.sendall(encode_instruction(instruction))

    def say_bytes(self, text: bytes) -> None:
        self._ours.sendall(text)

    def leave(self) -> None:
        self._ours.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line() -> Iterator[tuple[CardLine, Sharer, Supervisor]]:
    """One that waits for an answer for as long as it takes."""
    theirs, ours = socket.socketpair()
    ours.settimeout(30.0)
    channel, sharer = ControlChannel(theirs.detach()), Sharer()
    line = CardLine(channel, answer_seconds=30.0)
    line.serve(sharer)
    with ours, ours.makefile("rb") as lines, channel._socket:
        yield line, sharer, Supervisor(ours, lines)
        ours.shutdown(socket.SHUT_RDWR)
        wait_until(
            lambda: not any(each.name == "supervisor-heard" for each in threading.enumerate()), "its thread's end"
        )


def asking(line: CardLine, *, waits: bool = True) -> tuple[threading.Thread, list[tuple[str, ...] | None]]:
    answers: list[tuple[str, ...] | None] = []
    thread = threading.Thread(target=lambda: answers.append(line.ask(20, waits=waits)))
    thread.start()
    return thread, answers


def test_what_is_held_is_told(line: tuple[CardLine, Sharer, Supervisor]) -> None:
    held = (Held("unet", 5, 3, None), Held("vae", 1, 3, 12.5))
    line[0].tell(held, 9)
    assert line[2].hear() == Message("card", held=held, bytes=9)


def test_whoever_asks_waits_for_the_answer_and_is_allowed_it_before(line: tuple[CardLine, Sharer, Supervisor]) -> None:
    card, sharer, supervisor = line
    thread, answers = asking(card)
    question = supervisor.hear()
    assert question == Message("room", request=question.request, bytes=20, held=())
    assert question.request is not None
    supervisor.say(Instruction("granted", question.request, 20, ("qwen/qwen",)))
    thread.join(30.0)
    assert (answers, sharer.allowed) == ([("qwen/qwen",)], [20])


def test_one_that_does_not_wait_for_stages_says_so(line: tuple[CardLine, Sharer, Supervisor]) -> None:
    card, _, supervisor = line
    thread, _ = asking(card, waits=False)
    question = supervisor.hear()
    assert question.seconds == 0
    supervisor.say(Instruction("granted", question.request or 0, 20))
    thread.join(30.0)


def test_who_waits_for_an_answer_gives_back_meanwhile(line: tuple[CardLine, Sharer, Supervisor]) -> None:
    """Else two processes that ask at the same time would wait for each other."""
    card, sharer, supervisor = line
    thread, answers = asking(card)
    question = supervisor.hear()
    supervisor.say(Instruction("yield", 5, components=("umt5",)))
    assert supervisor.hear() == Message("yielded", request=5, bytes=7)
    assert (sharer.asked_for, answers) == ([("umt5",)], [])
    supervisor.say(Instruction("granted", question.request or 0, 20))
    thread.join(30.0)
    assert answers == [()]


def test_a_supervisor_that_is_gone_does_not_keep_anyone_waiting(line: tuple[CardLine, Sharer, Supervisor]) -> None:
    card, _, supervisor = line
    supervisor.leave()
    assert card.ask(20) is None
    assert card.ask(20) is None


def test_a_supervisor_that_does_not_answer_is_waited_for_once(line: tuple[CardLine, Sharer, Supervisor]) -> None:
    card, sharer, supervisor = line
    card._answer_seconds = 0.01
    assert card.ask(20) is None
    card._answer_seconds = 1000.0
    assert card.ask(20) is None, "without waiting"
    first, second = supervisor.hear(), supervisor.hear()
    supervisor.say(Instruction("granted", first.request or 0, 15))
    wait_until(lambda: sharer.allowed == [15], "the late answer")
    assert second.request != first.request
    thread, answers = asking(card)
    supervisor.say(Instruction("granted", supervisor.hear().request or 0, 20))
    thread.join(30.0)
    assert answers == [()]


def test_garbage_from_a_supervisor_harms_nobody(line: tuple[CardLine, Sharer, Supervisor]) -> None:
    _, sharer, supervisor = line
    whole = encode_instruction(Instruction("granted", 1, 20))
    supervisor.say_bytes(b'hello\n{"kind":"evict","request":1}\n' + whole[:10])
    supervisor.say_bytes(whole[10:])
    wait_until(lambda: sharer.allowed == [20], "what came after the garbage")


def test_only_the_last_word_about_the_card_is_kept_for_a_supervisor_that_does_not_read() -> None:
    theirs, ours = socket.socketpair()
    channel = ControlChannel(theirs.detach())
    with ours, channel._socket:
        while not channel._unsent:
            channel.announce(Message("done", job_id="x" * 1000))
        for number in range(5):
            channel.announce(Message("card", bytes=number, held=()))
            channel.announce(Message("done", job_id=f"job-{number}"))
        assert [message.bytes for message in channel._unsent if message.kind == "card"] == [4]
        assert len([message for message in channel._unsent if message.kind == "done"]) >= 5


def test_what_is_held_comes_back_as_it_was() -> None:
    message = Message("card", held=(Held("unet", 5, 3, None), Held("vae", 1, 3, 12.5)), bytes=9)
    assert decode_message(encode_message(message)) == message
    instruction = Instruction("granted", 3, 20, ("qwen/qwen",))
    assert decode_instruction(encode_instruction(instruction)) == instruction


@pytest.mark.parametrize(
    "text",
    [
        b'{"kind":"card","held":[["unet",5,3,null]]}',
        b'{"kind":"card","held":{"unet":5}}',
        b'{"kind":"card","held":[{"name":"unet","bytes":-1,"rank":3,"idle_since":null}]}',
        b'{"kind":"card","held":[{"name":5,"bytes":1,"rank":3,"idle_since":null}]}',
        b'{"kind":"card","held":[{"name":"unet","bytes":1,"rank":3,"idle_since":"now"}]}',
        b'{"kind":"room","request":1,"bytes":"all"}',
        b'{"kind":"yielded","request":-1,"bytes":5}',
    ],
)
def test_garbage_about_the_card_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="control"):
        decode_message(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[" * 60_000,
        b'{"kind":"evict","request":1}',
        b'{"kind":"yield"}',
        b'{"kind":"yield","request":1,"components":5}',
        b'{"kind":"yield","request":1,"components":[5]}',
        b'{"kind":"granted","request":1,"bytes":1.5}',
        b'{"kind":["granted"],"request":1}',
    ],
    ids=lambda text: repr(text[:40]),
)
def test_a_garbled_instruction_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_instruction(text)

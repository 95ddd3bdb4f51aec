"""The worker's end of the socket it inherited from its supervisor."""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable

import structlog

from ourvidz_worker.control import Instruction, Message, decode_instruction, encode_message

MOST_UNSENT = 1000
_REPLACEABLE = ("state", "poll", "step")  # the later one says all that the earlier one said
_NEVER_DROPPED = ("state", "done", "fenced", "card", "room", "yielded")
_READ_BYTES = 65536


class ControlChannel:
    """An `Announcer` that never waits for the supervisor.

    What a supervisor that does not read has no room for is kept in order and goes out with a later announcement,
    so regular `alive` messages bring the rest along. When the supervisor is gone, announcements go nowhere.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)  # a process of our own must not keep the line open after us
        self._lock = threading.Lock()
        self._unsent: deque[Message] = deque()
        self._previews: dict[str | None, Message] = {}  # the latest of each job, which go out when all else has
        self._rest = b""  # of a line that is half out
        self._gone = False

    @property
    def gone(self) -> bool:
        """Whether the supervisor was not there when something was last announced."""
        return self._gone

    def announce(self, message: Message) -> None:
        with self._lock:
            if self._gone:
                return
            self._keep(message)
            try:
                self._send()
            except BlockingIOError:
                return
            except OSError:
                self._gone = True
                self._unsent.clear()
                self._previews.clear()

    def when_gone(self, call: Callable[[], None]) -> None:
        """Call `call` once, from a thread of its own, when the supervisor is gone or was gone already."""

        def wait() -> None:
            line = select.poll()
            line.register(self._socket, 0)  # a hang-up is reported without being asked for
            line.poll()
            call()

        threading.Thread(target=wait, name="supervisor-gone", daemon=True).start()

    def listen(self, hear: Callable[[Instruction], None]) -> None:
        """Give each instruction of the supervisor to `hear`, in a thread of its own, until the supervisor is gone."""

        def read() -> None:
            line = select.poll()
            line.register(self._socket, select.POLLIN)
            begun = b""
            while line.poll():
                try:
                    read = self._socket.recv(_READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    return
                if not read:
                    return
                *whole, begun = (begun + read).split(b"\n")
                for one in whole:
                    _hear(one, hear)

        threading.Thread(target=read, name="supervisor-heard", daemon=True).start()

    def _keep(self, message: Message) -> None:
        """Behind what is unsent, so that a supervisor paused for hours costs a few messages a job and no steps."""
        if message.kind == "preview":
            self._previews[message.job_id] = message
            return
        if message.kind == "done":
            self._previews.pop(message.job_id, None)
        if self._unsent:
            last = self._unsent[-1]
            if message.kind == "alive":
                return  # whatever comes through proves as much
            if message.kind == "card":  # each says all there is to say, and may come at any time
                self._unsent = deque(other for other in self._unsent if other.kind != "card")
                self._unsent.append(message)
                return
            if message.kind in _REPLACEABLE and (message.kind, message.job_id) == (last.kind, last.job_id):
                self._unsent.pop()
            elif len(self._unsent) >= MOST_UNSENT and message.kind not in _NEVER_DROPPED:
                return
        self._unsent.append(message)

    def _send(self) -> None:
        while self._rest or self._unsent or self._previews:
            self._rest = self._rest or encode_message(self._next())
            self._rest = self._rest[self._socket.send(self._rest) :]

    def _next(self) -> Message:
        return self._unsent.popleft() if self._unsent else self._previews.pop(next(iter(self._previews)))


def _hear(line: bytes, hear: Callable[[Instruction], None]) -> None:
    try:
        instruction = decode_instruction(line)
    except ValueError as error:
        structlog.get_logger().warning("control_instruction_unreadable", problem=str(error))
        return
    hear(instruction)

"""The worker's end of the socket it inherited from its supervisor."""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable

from ourvidz_worker.control import Message, encode_message

MOST_UNSENT = 1000
_REPLACEABLE = ("state", "poll", "step")  # the later one says all that the earlier one said
_NEVER_DROPPED = ("state", "done", "fenced")


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
        self._rest = b""  # of a line that is half out
        self._gone = False

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

    def when_gone(self, call: Callable[[], None]) -> None:
        """Call `call` once, from a thread of its own, when the supervisor is gone or was gone already."""

        def wait() -> None:
            line = select.poll()
            line.register(self._socket, 0)  # a hang-up is reported without being asked for
            line.poll()
            call()

        threading.Thread(target=wait, name="supervisor-gone", daemon=True).start()

    def _keep(self, message: Message) -> None:
        """Behind what is unsent, so that a supervisor paused for hours costs a few messages a job and no steps."""
        if self._unsent:
            last = self._unsent[-1]
            if message.kind == "alive":
                return  # whatever comes through proves as much
            if message.kind in _REPLACEABLE and (message.kind, message.job_id) == (last.kind, last.job_id):
                self._unsent.pop()
            elif len(self._unsent) >= MOST_UNSENT and message.kind not in _NEVER_DROPPED:
                return
        self._unsent.append(message)

    def _send(self) -> None:
        while self._rest or self._unsent:
            self._rest = self._rest or encode_message(self._unsent.popleft())
            self._rest = self._rest[self._socket.send(self._rest) :]

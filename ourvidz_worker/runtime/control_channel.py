"""The worker's end of the socket it inherited from its supervisor."""

from __future__ import annotations

import socket
import threading

from ourvidz_worker.control import Message, encode_message

_SEND_SECONDS = 1.0


class ControlChannel:
    """An `Announcer` over the inherited socket; when the supervisor is gone, announcements go nowhere."""

    def __init__(self, descriptor: int) -> None:
        self.socket = socket.socket(fileno=descriptor)
        self.socket.settimeout(_SEND_SECONDS)
        self._lock = threading.Lock()

    def announce(self, message: Message) -> None:
        with self._lock:
            try:
                self.socket.sendall(encode_message(message))
            except OSError:
                # Half a line may be out; nothing sensible can follow it.
                self.socket.close()
